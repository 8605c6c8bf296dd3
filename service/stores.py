"""The stores of one server: everything that it remembers, opened once. Knows no HTTP."""

from dataclasses import dataclass
from typing import Self

from pareconv.storage.artifacts import ArtifactStore
from pareconv.storage.candidates import CandidateStore
from pareconv.storage.database import Database
from pareconv.storage.events import EventStore
from pareconv.storage.files import FileStore
from pareconv.storage.garbage import Garbage
from pareconv.storage.jobs import JobStore
from pareconv.storage.latencies import LatencyStore
from pareconv.storage.libraries import LibraryStore
from pareconv.storage.settings import Settings
from pareconv.storage.statistics import StatisticsStore
from pareconv.storage.uploads import Kind, UploadStore


@dataclass(frozen=True, slots=True)
class Stores:
    """The database with its stores, and the files."""

    database: Database
    jobs: JobStore
    events: EventStore
    candidates: CandidateStore
    artifacts: ArtifactStore
    libraries: LibraryStore
    latencies: LatencyStore
    uploads: dict[Kind, UploadStore]
    files: FileStore
    garbage: Garbage
    statistics: StatisticsStore

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Open what the settings name, and bring the schema up to date."""
        database = Database(settings.database)
        database.migrate()
        files = FileStore.of(settings)
        return cls(
            database=database,
            jobs=JobStore(database),
            events=EventStore(database),
            candidates=CandidateStore(database),
            artifacts=ArtifactStore(database),
            libraries=LibraryStore(database),
            latencies=LatencyStore(database),
            uploads={kind: UploadStore(database, kind) for kind in ("teacher", "dataset")},
            files=files,
            garbage=Garbage(database, files),
            statistics=StatisticsStore(database),
        )
