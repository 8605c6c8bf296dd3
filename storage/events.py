"""Events: what happened to a job, in order, never changed. Knows nothing of who listens."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import func, select

from pareconv.storage.database import Database
from pareconv.storage.locking import lock_job
from pareconv.storage.tables import EventRow
from pareconv.storage.values import Value

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Event(Value):
    """One thing that happened. `seq` grows with time over all jobs; it is never used twice."""

    seq: int
    job_id: str
    level: Level
    type: str
    message: str
    data: dict[str, Any]
    created_at: datetime


class EventStore:
    """The events of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(
        self,
        job_id: str,
        type: str,
        message: str,
        *,
        level: Level = "info",
        data: dict[str, Any] | None = None,
    ) -> Event:
        """Add an event; NotFound when there is no such job.

        A job's events become visible in the order of their `seq`: a reader that asks for those
        after the last it saw misses none.
        """
        with self._database.session() as session:
            lock_job(session, job_id)
            row = EventRow(
                job_id=job_id,
                level=level,
                type=type,
                message=message,
                data=data or {},
                created_at=self._database.now(session),
            )
            session.add(row)
            session.flush()
            return Event.from_row(row)

    def page(self, job_id: str, after: int = 0, limit: int = 100) -> list[Event]:
        """Up to `limit` events of the job with a `seq` above `after`, oldest first."""
        query = (
            select(EventRow)
            .where(EventRow.job_id == job_id, EventRow.seq > after)
            .order_by(EventRow.seq)
            .limit(limit)
        )
        with self._database.session(read_only=True) as session:
            return [Event.from_row(row) for row in session.scalars(query)]

    def newest(self, job_id: str, limit: int = 100) -> list[Event]:
        """The last `limit` events of the job, newest first."""
        query = (
            select(EventRow)
            .where(EventRow.job_id == job_id)
            .order_by(EventRow.seq.desc())
            .limit(limit)
        )
        with self._database.session(read_only=True) as session:
            return [Event.from_row(row) for row in session.scalars(query)]

    def spans(self, job_id: str) -> dict[str, tuple[datetime, datetime]]:
        """When the first and the last event of each type was."""
        query = (
            select(EventRow.type, func.min(EventRow.created_at), func.max(EventRow.created_at))
            .where(EventRow.job_id == job_id)
            .group_by(EventRow.type)
        )
        with self._database.session(read_only=True) as session:
            return {type: (first, last) for type, first, last in session.execute(query)}
