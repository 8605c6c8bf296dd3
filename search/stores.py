"""The stores a worker writes to, opened together from the settings."""

from dataclasses import dataclass
from typing import Self

from pareconv.storage.artifacts import ArtifactStore
from pareconv.storage.candidates import CandidateStore
from pareconv.storage.database import Database
from pareconv.storage.events import EventStore
from pareconv.storage.jobs import JobStore
from pareconv.storage.latencies import LatencyStore
from pareconv.storage.libraries import LibraryStore
from pareconv.storage.settings import Settings
from pareconv.storage.workers import WorkerStore


@dataclass(frozen=True)
class Stores:
    database: Database
    jobs: JobStore
    candidates: CandidateStore
    events: EventStore
    artifacts: ArtifactStore
    libraries: LibraryStore
    latencies: LatencyStore
    workers: WorkerStore

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Connect, and bring the schema up to date."""
        database = Database(settings.database)
        database.migrate()
        return cls(
            database,
            JobStore(database),
            CandidateStore(database),
            EventStore(database),
            ArtifactStore(database),
            LibraryStore(database),
            LatencyStore(database),
            WorkerStore(database),
        )
