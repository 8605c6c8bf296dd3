"""The databases that the contract runs over: SQLite in memory, a SQLite file, PostgreSQL.

PostgreSQL is the server of PARECONV_TEST_POSTGRES_URL, or else one on loopback. Databases on it
are made by the test session under random names and dropped at its end; none that is already there
is touched.
"""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import make_url

SHARED = ["sqlite-file", pytest.param("postgresql", marks=pytest.mark.postgres)]
EVERY = ["sqlite-memory", *SHARED]
NEEDS_SHARED = {"shared_database", "shared_url", "team_url"}
LOOPBACK = "postgresql://root@127.0.0.1:5432/postgres"
NOT_FOUND = "PostgreSQL: not found, its tests did not run; set PARECONV_TEST_POSTGRES_URL"


@cache
def postgres_server() -> str | None:
    url = os.environ.get("PARECONV_TEST_POSTGRES_URL") or LOOPBACK
    try:
        psycopg.connect(url, connect_timeout=3).close()
    except psycopg.OperationalError:
        return None
    return url


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        is_shared = not NEEDS_SHARED.isdisjoint(metafunc.fixturenames)
        backends = [*(SHARED if is_shared else EVERY)]
        if postgres_server() is None:
            if os.environ.get("PARECONV_REQUIRE_POSTGRES") == "1":
                raise pytest.UsageError(NOT_FOUND)
            backends.pop()
        if "team_url" in metafunc.fixturenames:
            backends = backends[-1:]
        metafunc.parametrize("backend", backends, indirect=True, scope="session")


# Whole files go to a process each. Those that take longest come first, lest one core wait for
# another at the end.
_LONG = ("test_walkthroughs", "test_story", "test_pipeline", "test_compose", "test_space")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: places.get(item.path.stem, len(_LONG)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if postgres_server() is None:
        terminalreporter.write_line(NOT_FOUND, yellow=True)


@dataclass
class Backend:
    """A kind of database, which makes new and empty ones by their URL."""

    name: str
    folder: Path
    made: list[str] = field(default_factory=list)

    def new_url(self) -> str:
        if self.name == "sqlite-memory":
            return "sqlite://"
        name = f"pareconv_test_{secrets.token_hex(8)}"
        if self.name == "sqlite-file":
            return f"sqlite:///{self.folder / name}.db"
        self._on_server("CREATE DATABASE {}", name)
        self.made.append(name)
        return make_url(postgres_server()).set(database=name).render_as_string(hide_password=False)

    def drop_all(self) -> None:
        for name in self.made:
            self._on_server("DROP DATABASE {} WITH (FORCE)", name)

    def _on_server(self, command: str, name: str) -> None:
        with psycopg.connect(postgres_server(), autocommit=True) as connection:
            connection.execute(SQL(command).format(Identifier(name)))


@pytest.fixture(scope="session")
def backend(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backend]:
    backend = Backend(request.param, tmp_path_factory.mktemp("databases"))
    yield backend
    backend.drop_all()


@pytest.fixture(scope="session")
def shared_url(backend: Backend) -> str:
    """A database that several connections, or processes, can share; the same for all tests."""
    return backend.new_url()


@pytest.fixture(scope="session")
def team_url(backend: Backend) -> str:
    """A database on PostgreSQL alone, as a team has it; on SQLite only where no server is found."""
    return backend.new_url()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def s3_server() -> Iterator[dict[str, str]]:
    """An S3 server in a process of its own; the variables by which it is found."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not _answers(port):
            assert process.poll() is None, "the S3 server ended"
            assert time.monotonic() < deadline, "the S3 server does not answer"
            time.sleep(0.05)
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def s3(s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a bucket that nobody made yet."""
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    return f"s3://bucket-{secrets.token_hex(8)}/files"
