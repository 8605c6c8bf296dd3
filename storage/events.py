"""Events: what happened to a job, in order, never changed. Knows nothing of who listens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Select, and_, func, or_, select

from pareconv.storage.database import Database
from pareconv.storage.job_states import TERMINAL
from pareconv.storage.locking import lock_job
from pareconv.storage.tables import EventRow, JobRow
from pareconv.storage.values import Value

Level = Literal["info", "warning", "error"]

_AT_ONCE = 100  # jobs in one query


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


@dataclass(frozen=True, slots=True)
class News:
    """What happened to some jobs: `events` by `seq`, and which of them have `ended` or are gone."""

    events: list[Event]
    ended: set[str]


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

    def last(self, job_id: str) -> int:
        """The `seq` of the job's newest event, 0 without one."""
        query = select(func.max(EventRow.seq)).where(EventRow.job_id == job_id)
        with self._database.session(read_only=True) as session:
            return session.scalar(query) or 0

    def news(self, after: Mapping[str, int], limit: int = 1000) -> News:
        """Events of these jobs above the `seq` given with each, in one transaction.

        A job is told to have ended only where all its events are in the answer.
        """
        events: list[Event] = []
        with self._database.session(read_only=True) as session:
            jobs = list(after)
            alive: set[str] = set()
            for some in (jobs[at : at + _AT_ONCE] for at in range(0, len(jobs), _AT_ONCE)):
                # In this order: an event written before its job ended is seen after that.
                alive |= set(session.scalars(_unfinished(some)))
                rows = session.scalars(_newer({job: after[job] for job in some}, limit))
                found = [Event.from_row(row) for row in rows]
                if len(found) == limit:
                    alive |= set(some)  # there may be more of them
                events += found
        return News(sorted(events, key=lambda each: each.seq), set(jobs) - alive)

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


def _unfinished(jobs: Sequence[str]) -> Select[str]:
    return select(JobRow.id).where(JobRow.id.in_(jobs), JobRow.status.not_in(TERMINAL))


def _newer(after: Mapping[str, int], limit: int) -> Select[EventRow]:
    each = (and_(EventRow.job_id == job, EventRow.seq > seq) for job, seq in after.items())
    return select(EventRow).where(or_(*each)).order_by(EventRow.seq).limit(limit)
