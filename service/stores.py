"""The stores of one server: everything that it remembers, opened once. Knows no HTTP."""

from dataclasses import dataclass, replace
from typing import Self

from pareconv.storage.access import EVERYTHING, Access
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
from pareconv.storage.tokens import TokenStore
from pareconv.storage.uploads import Kind, UploadStore


@dataclass(frozen=True, slots=True)
class Stores:
    """The database with its stores, and the files, as far as `access` goes.

    Events, candidates and artifacts hang on a job: who asks for theirs asks for the job first.
    """

    access: Access
    database: Database
    tokens: TokenStore
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
            access=EVERYTHING,
            database=database,
            tokens=TokenStore(database),
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

    def seen_with(self, access: Access) -> Self:
        """The same stores, in which is only what `access` lets see, and what is made is its own."""
        database = self.database
        return replace(
            self,
            access=access,
            jobs=JobStore(database, access),
            libraries=LibraryStore(database, access),
            latencies=LatencyStore(database, access),
            uploads={kind: UploadStore(database, kind, access) for kind in self.uploads},
        )
