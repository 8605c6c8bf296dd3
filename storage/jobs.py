"""Jobs: created, claimed by workers through leases, moved from status to status, deleted.

The contract, the same on every database:

- A status changes only as `ALLOWED` says, and each change is atomic: of two who ask for
  contradicting ones, the second gets a Conflict that names what the job has become.
- A running job belongs to the worker that claimed it, until its lease ends: by `release`, by
  running out, or with the job. Who no longer holds the lease can write nothing as its owner.
- Somebody's `access` bounds what he sees, and what he makes is his: a job that is not seen is
  not there. Workers see all.
- Values returned are copies.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, Unpack

from sqlalchemy import ColumnElement, case, exists, func, or_, select, true
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from pareconv.storage import leases, times, transitions
from pareconv.storage.access import EVERYTHING, Access
from pareconv.storage.database import Database
from pareconv.storage.errors import Conflict, NotFound
from pareconv.storage.events import Level
from pareconv.storage.job_states import (
    ACTIVE,
    ALLOWED,
    IDEMPOTENT,
    TERMINAL,
    JobStatus,
    Stage,
)
from pareconv.storage.locking import find_and_lock, lock_job
from pareconv.storage.naming import named_by_job
from pareconv.storage.pages import newest_first
from pareconv.storage.studies import forget_study
from pareconv.storage.tables import CandidateRow, EventRow, JobRow, TokenRow
from pareconv.storage.values import Value

__all__ = ["ALLOWED", "TERMINAL", "Job", "JobStatus", "JobStore", "Reported", "Stage"]


class Reported(TypedDict, total=False):
    """What its worker writes down of a job. `progress` is 0 to 1; `stage_eta` and `eta` are when
    the stage and the job should be done, as far as that can be told.
    """

    stage: Stage
    progress: float
    stage_eta: datetime | None
    eta: datetime | None
    resolved: dict[str, Any]
    profile: dict[str, Any]
    library_id: str


@dataclass(frozen=True, slots=True)
class Job(Value):
    """A job as it was when it was read.

    `progress` is 0 to 1; `stage_eta` and `eta` are when its stage and it should be done, as it was
    told while it ran. `error` is the problem it failed by, `library_id` the library that it builds
    or draws on, `extension` what its search was extended by last: so many `trials` and seconds
    (`time_limit_s`) more than its candidates had been and taken by then. `started_at` is that of
    what it is at now, where it had succeeded before. Of the jobs that wait, those of the highest
    `priority` come first. Workers had it in hand for `worked_s` seconds since it was submitted, or
    since it was tried again or extended. `token_id` is whose it is.
    """

    id: str
    token_id: str
    name: str | None
    status: JobStatus
    stage: Stage | None
    progress: float
    stage_eta: datetime | None
    eta: datetime | None
    spec: dict[str, Any]
    resolved: dict[str, Any] | None
    profile: dict[str, Any] | None
    error: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    updated_at: datetime
    lease_owner: str | None
    lease_expires_at: datetime | None
    library_id: str | None
    claims: int
    extension: dict[str, Any] | None
    priority: int
    queued_at: datetime
    worked_s: float


_TOLD = TERMINAL | {JobStatus.PAUSED}


class JobStore:
    """The jobs of one database. A method that returns a job raises NotFound for an unknown id."""

    def __init__(self, database: Database, access: Access = EVERYTHING) -> None:
        self._database = database
        self._access = access

    def create(
        self,
        spec: dict[str, Any],
        *,
        name: str | None = None,
        idempotency_key: str | None = None,
        request_hash: str | None = None,
        priority: int = 0,
    ) -> tuple[Job, bool]:
        """Queue a job; the bool tells whether it is new.

        The same key with the same hash gives the job of the first request, with another hash a
        Conflict. Keys are each token's own.
        """
        row = JobRow(
            token_id=self._access.token_id,
            name=name,
            status=JobStatus.QUEUED,
            progress=0.0,
            spec=spec,
            claims=0,
            candidates_version=0,
            idempotency_key=idempotency_key,
            request_hash=request_hash,
            priority=priority,
        )
        try:
            return self._insert(row), True
        except IntegrityError:  # only the key can be there already
            first = self.find(idempotency_key, request_hash)
            assert first is not None
            return first, False

    def find(self, idempotency_key: str | None, request_hash: str | None) -> Job | None:
        """The job that came with this key, if one did; Conflict if that request was another."""
        query = select(JobRow).where(
            JobRow.idempotency_key == idempotency_key, JobRow.token_id == self._access.token_id
        )
        with self._database.session(read_only=True) as session:
            row = session.scalars(query).one_or_none()
            if row is None:
                return None
            if row.request_hash != request_hash:
                raise Conflict(
                    f"idempotency key {idempotency_key!r} was used for another request, which made "
                    f"job {row.id}; send a new key with a new request"
                )
            return Job.from_row(row)

    def get(self, id: str) -> Job:
        with self._database.session(read_only=True) as session:
            row = session.get(JobRow, id)
            if row is None or not self._access.sees(row.token_id):
                raise NotFound("job", id)
            return Job.from_row(row)

    def page(
        self, limit: int, cursor: str | None = None, status: JobStatus | None = None
    ) -> tuple[list[Job], str | None]:
        """Up to `limit` jobs, newest first, and the cursor of the next page if there is one."""
        query = self._access.narrow(select(JobRow), JobRow.token_id)
        if status is not None:
            query = query.where(JobRow.status == status)
        with self._database.session(read_only=True) as session:
            rows, following = newest_first(session, query, JobRow.id, limit=limit, cursor=cursor)
            return [Job.from_row(row) for row in rows], following

    def claim(
        self, owner: str, lease_seconds: float, *, max_running_per_token: int | None = None
    ) -> Job | None:
        """Give `owner` the oldest of the most urgent jobs that wait for a worker, or None.

        A queued job starts running, unless its token has so many running jobs already. One whose
        worker's lease has run out keeps its status, so that the new worker sees what had been
        asked of the old one.
        """
        with self._database.session() as session:
            now = self._database.now(session)
            query = select(JobRow).where(leases.waits_for_worker(now))
            query = query.where(_is_below(max_running_per_token))
            query = query.order_by(JobRow.priority.desc(), JobRow.id).limit(1)
            row = session.scalar(query.with_for_update(skip_locked=True, key_share=True))
            if row is None or not _has_room(session, row, max_running_per_token):
                return None
            if row.status is JobStatus.QUEUED:
                times.waited(session, row, now)
                transitions.move(row, JobStatus.RUNNING, now=now)
            row.updated_at = row.renewed_at = now
            leases.grant(row, owner, now=now, seconds=lease_seconds)
            row.claims += 1
            return Job.from_row(row)

    def renew(self, id: str, owner: str, lease_seconds: float) -> JobStatus | None:
        """Prolong the lease and tell the job's status; None when `owner` no longer holds it."""
        with self._held(id, owner) as (row, now):
            if row is None:
                return None
            leases.grant(row, owner, now=now, seconds=lease_seconds)
            return row.status

    def release(self, id: str, owner: str) -> bool:
        """Give the lease up, so that another worker goes on at once; False if it was lost."""
        with self._held(id, owner) as (row, now):
            if row is None:
                return False
            leases.drop(row)
            row.updated_at = now
            return True

    def times(self, id: str) -> dict[str, float]:
        """Seconds that it waited (`queue`) and was worked on in each stage, pauses left out."""
        with self._database.session(read_only=True) as session:
            return times.of_job(session, id)

    def update(self, id: str, *, owner: str, **given: Unpack[Reported]) -> bool:
        """Write what is given; False, and nothing, when `owner` no longer holds the lease.

        Raises NotFound for a library that is no longer there.
        """
        try:
            with self._held(id, owner) as (row, now):
                if row is None:
                    return False
                for name, value in given.items():
                    setattr(row, name, value)
                row.updated_at = now
                return True
        except IntegrityError as error:  # only the library can be missing
            raise NotFound("library", str(given.get("library_id"))) from error

    def transition(
        self,
        id: str,
        to: JobStatus,
        *,
        owner: str | None = None,
        error: dict[str, Any] | None = None,
    ) -> Job:
        """Move the job to `to`; with `owner`, only while that worker holds its lease.

        Asking to pause or cancel what already is so changes nothing. Raises Conflict, which names
        the current status and what it allows, for a move that `ALLOWED` does not have.
        """
        with self._moving(id) as (session, row, now):
            if owner is not None:
                leases.require_held(row, owner, now)
                times.worked(session, row, now)
            if not (row.status is to and to in IDEMPOTENT):
                transitions.move(row, to, now=now, error=error)
            return Job.from_row(row)

    def cancel(self, id: str) -> Job:
        """Cancel a job: at once when no worker has it, else by asking its worker.

        One that died has it until its lease has run out; asked then, it is cancelled at once too.
        """
        with self._moving(id) as (_, row, now):
            transitions.cancel(row, now)
            return Job.from_row(row)

    def pause(self, id: str) -> Job:
        """Pause a job: at once when no worker has it, else by asking its worker, as `cancel`."""
        with self._moving(id) as (_, row, now):
            transitions.pause(row, now)
            return Job.from_row(row)

    def give_in(self, id: str, *, owner: str) -> Job:
        """End a job as its worker was asked to: paused or cancelled, whichever was asked last.

        Raises Conflict when it was not asked, and as `transition` does.
        """
        with self._moving(id) as (session, row, now):
            leases.require_held(row, owner, now)
            times.worked(session, row, now)
            transitions.give_in(row, now)
            return Job.from_row(row)

    def prioritize(self, id: str, priority: int) -> Job:
        """Give a queued job another priority; Conflict when it is no longer queued."""
        with self._database.session() as session:
            row = self._locked(session, id)
            if row.status is not JobStatus.QUEUED:
                raise Conflict(
                    f"job {id} is {row.status}; only while it is queued does its priority count"
                )
            row.priority = priority
            row.updated_at = self._database.now(session)
            return Job.from_row(row)

    def resume(self, id: str) -> Job:
        """Queue a paused, failed or cancelled job again; it goes on where it stopped."""
        with self._moving(id) as (_, row, now):
            transitions.give_in_for_nobody(row, now)
            transitions.resume(row, now)
            return Job.from_row(row)

    def extend(self, id: str, *, trials: int, time_limit_s: float | None = None) -> Job:
        """Queue a job that has succeeded, to search on: so many more trials, in so much more time.

        Conflict unless it has succeeded. The extension keeps how many candidates there are, how
        many `evaluations` and `seconds` they took, and how many of them are `finalists`.
        """
        with self._database.session() as session:
            row = self._locked(session, id)
            transitions.again(row, self._database.now(session))
            count, evaluations, seconds, finalists = session.execute(
                select(
                    func.count(),
                    func.coalesce(func.sum(CandidateRow.evaluations), 0),
                    func.coalesce(func.sum(CandidateRow.seconds), 0.0),
                    func.count(case((CandidateRow.finalist, 1))),
                ).where(CandidateRow.job_id == id)
            ).one()
            row.stage = Stage.SEARCH
            row.extension = {
                "trials": trials,
                "time_limit_s": time_limit_s,
                "candidates": count,
                "evaluations": int(evaluations),
                "seconds": seconds,
                "finalists": finalists,
            }
            return Job.from_row(row)

    def succeed(self, id: str, *, owner: str) -> bool:
        """End a job well, unless a student is wanted that was asked for meanwhile: False then, and
        the next worker goes on at once.

        Raises Conflict as `transition` does.
        """
        with self._moving(id) as (session, row, now):
            leases.require_held(row, owner, now)
            times.worked(session, row, now)
            wanted = exists().where(CandidateRow.job_id == id, CandidateRow.wanted.is_not(None))
            if session.scalar(select(wanted)):
                leases.drop(row)
                return False
            transitions.move(row, JobStatus.SUCCEEDED, now=now)
            return True

    def delete(self, id: str) -> set[str]:
        """Forget a job with its events, candidates, artifact rows and study, unless a worker has
        it; the files that these named, which are not touched.
        """
        with self._database.session() as session:
            row = self._locked(session, id)
            transitions.give_in_for_nobody(row, self._database.now(session))
            if row.status in ACTIVE:
                raise Conflict(
                    f"job {id} is {row.status}; cancel it and wait until it is cancelled"
                )
            files = named_by_job(session, id)
            forget_study(session, id)
            session.delete(row)
            return files

    def _insert(self, row: JobRow) -> Job:
        with self._database.session() as session:
            row.created_at = row.updated_at = row.queued_at = self._database.now(session)
            session.add(row)
            session.flush()
            return Job.from_row(row)

    def _locked(self, session: Session, id: str) -> JobRow:
        row = lock_job(session, id)
        if not self._access.sees(row.token_id):
            raise NotFound("job", id)
        return row

    @contextmanager
    def _moving(self, id: str) -> Iterator[tuple[Session, JobRow, datetime]]:
        """The job's locked row, about to get another status, and the time.

        Where it comes to an end thereby, its events tell so in the same transaction: who sees that
        it has ended sees that event too.
        """
        with self._database.session() as session:
            row = self._locked(session, id)
            now, before = self._database.now(session), row.status
            yield session, row, now
            if row.status is not before and row.status in _TOLD:
                session.add(_told(row, now))

    @contextmanager
    def _held(self, id: str, owner: str) -> Iterator[tuple[JobRow | None, datetime]]:
        """The job's locked row while `owner` holds its lease, else None; and the time."""
        with self._database.session() as session:
            row = find_and_lock(session, id)
            now = self._database.now(session)
            if row is not None and leases.is_held(row, owner, now):
                times.worked(session, row, now)
            else:
                row = None
            yield row, now


def _told(row: JobRow, now: datetime) -> EventRow:
    """The event that a job has come to an end."""
    level: Level = "error" if row.status is JobStatus.FAILED else "info"
    reason = (row.error or {}).get("detail")
    detail = f": {reason}" if reason else ""
    message = f"job {row.status}{detail}"
    return EventRow(
        job_id=row.id, level=level, type=str(row.status), message=message, data={}, created_at=now
    )


def _is_below(cap: int | None) -> ColumnElement[bool]:
    """Condition: the job runs already, is nobody's, or its token has fewer than `cap` running."""
    if cap is None:
        return true()
    full = (
        select(JobRow.token_id)
        .where(JobRow.status.in_(ACTIVE))
        .group_by(JobRow.token_id)
        .having(func.count() >= cap)
    )
    may_start = or_(JobRow.token_id == "", JobRow.token_id.not_in(full))
    return or_(JobRow.status != JobStatus.QUEUED, may_start)


def _has_room(session: Session, row: JobRow, cap: int | None) -> bool:
    """The same once more, alone: two that claim at once would both have seen the last place."""
    if cap is None or row.status is not JobStatus.QUEUED or not row.token_id:
        return True
    session.execute(select(TokenRow.id).where(TokenRow.id == row.token_id).with_for_update())
    running = select(func.count()).where(JobRow.token_id == row.token_id, JobRow.status.in_(ACTIVE))
    return (session.scalar(running) or 0) < cap
