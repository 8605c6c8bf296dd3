"""The databases that the contract runs over: SQLite in memory, a SQLite file, PostgreSQL.

PostgreSQL is the server of PARECONV_TEST_POSTGRES_URL, or else one on loopback. Databases on it
are made by the test session under random names and dropped at its end; none that is already there
is touched.
"""

import os
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import make_url

from pareconv.storage.database import Database
from pareconv.storage.errors import StorageError
from pareconv.storage.jobs import Job, JobStore
from pareconv.storage.tables import Base

SHARED = ["sqlite-file", pytest.param("postgresql", marks=pytest.mark.postgres)]
EVERY = ["sqlite-memory", *SHARED]
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
        is_shared = "shared_database" in metafunc.fixturenames
        backends = [*(SHARED if is_shared else EVERY)]
        if postgres_server() is None:
            if os.environ.get("PARECONV_REQUIRE_POSTGRES") == "1":
                raise pytest.UsageError(NOT_FOUND)
            backends.pop()
        metafunc.parametrize("backend", backends, indirect=True, scope="session")


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
def migrated(backend: Backend) -> Iterator[Database]:
    database = Database(backend.new_url())
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def database(migrated: Database) -> Database:
    """A migrated database with empty tables, on every back end in turn."""
    with migrated.session() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(table.delete())
    return migrated


@pytest.fixture
def shared_database(database: Database) -> Database:
    """The same, only on back ends that several processes can share."""
    return database


@pytest.fixture
def new_database(backend: Backend) -> Iterator[Callable[[], Database]]:
    """Makes databases that nobody has migrated."""
    opened: list[Database] = []

    def make() -> Database:
        opened.append(Database(backend.new_url()))
        return opened[-1]

    yield make
    for database in opened:
        database.close()


@pytest.fixture
def together() -> Iterator[Callable[..., list[object]]]:
    """Makes calls in threads that start at the same moment; their results, or errors, in order."""
    with ThreadPoolExecutor(4) as pool:

        def together(*calls: Callable[[], object]) -> list[object]:
            gate = threading.Barrier(len(calls))

            def run(call: Callable[[], object]) -> object:
                gate.wait()
                try:
                    return call()
                except StorageError as error:
                    return error

            return list(pool.map(run, calls))

        yield together


@pytest.fixture
def jobs(database: Database) -> JobStore:
    return JobStore(database)


@pytest.fixture
def job(jobs: JobStore) -> Job:
    return jobs.create({"teacher": {"architecture": "cifar_resnet8"}})[0]
