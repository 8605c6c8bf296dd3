"""Artifacts: which files a candidate was exported to. Knows names and hashes, never the bytes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NotRequired, TypedDict, Unpack

from sqlalchemy import select

from pareconv.storage.database import Database
from pareconv.storage.errors import NotFound
from pareconv.storage.locking import lock_job
from pareconv.storage.tables import ArtifactRow, CandidateRow
from pareconv.storage.values import Value


@dataclass(frozen=True, slots=True)
class Artifact(Value):
    """One exported file of a candidate; `sha256` names it in the file store.

    `details` are figures of the file's own, such as the accuracy of one that does not compute
    exactly what the student does; None for those that an older version wrote.
    """

    job_id: str
    number: int
    format: str
    sha256: str
    size_bytes: int
    filename: str
    details: dict[str, Any] | None
    created_at: datetime


class Exported(TypedDict):
    """A file as it was exported."""

    format: str
    sha256: str
    size_bytes: int
    filename: str
    details: NotRequired[dict[str, Any]]


class ArtifactStore:
    """The artifacts of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, job_id: str, number: int, **file: Unpack[Exported]) -> Artifact:
        """Add the candidate's file of that format, or put it in the place of the former one."""
        with self._database.session() as session:
            job = lock_job(session, job_id)
            if session.get(CandidateRow, (job_id, number)) is None:
                raise NotFound("trial", f"{job_id}/{number}")
            job.candidates_version += 1
            row = ArtifactRow(
                job_id=job_id,
                number=number,
                created_at=self._database.now(session),
                **({"details": None} | file),
            )
            return Artifact.from_row(session.merge(row))

    def of_job(self, job_id: str) -> list[Artifact]:
        """Every artifact of the job, by candidate and format."""
        query = (
            select(ArtifactRow)
            .where(ArtifactRow.job_id == job_id)
            .order_by(ArtifactRow.number, ArtifactRow.format)
        )
        with self._database.session(read_only=True) as session:
            return [Artifact.from_row(row) for row in session.scalars(query)]

    def get(self, job_id: str, number: int, format: str) -> Artifact:
        with self._database.session(read_only=True) as session:
            row = session.get(ArtifactRow, (job_id, number, format))
            if row is None:
                raise NotFound("artifact", f"{job_id}/{number}/{format}")
            return Artifact.from_row(row)
