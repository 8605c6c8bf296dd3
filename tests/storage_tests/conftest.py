"""Databases, migrated and emptied for each test, on every back end of ../conftest.py."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pytest

from pareconv.storage.database import Database
from pareconv.storage.errors import StorageError
from pareconv.storage.jobs import Job, JobStore
from pareconv.storage.latencies import LatencyStore
from pareconv.storage.libraries import Library, LibraryStore
from pareconv.storage.tables import Base


class Backend(Protocol):
    def new_url(self) -> str: ...


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


@pytest.fixture
def libraries(database: Database) -> LibraryStore:
    return LibraryStore(database)


@pytest.fixture
def latencies(database: Database) -> LatencyStore:
    return LatencyStore(database)


@pytest.fixture
def library(libraries: LibraryStore) -> Library:
    return libraries.open(
        key="1" * 64,
        architecture="cifar_resnet8",
        teacher="2" * 64,
        data="3" * 64,
        recipe={"images": 5000},
        teacher_cost={"flops": 1000, "params": 100, "adds": 0},
    )
