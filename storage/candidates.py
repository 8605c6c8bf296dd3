"""Candidates: one row per plan tried, whatever became of it. Knows nothing of how one is tried."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NotRequired, TypedDict, Unpack

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from pareconv.storage import leases, transitions
from pareconv.storage.candidate_states import CandidateState
from pareconv.storage.database import Database
from pareconv.storage.errors import Conflict, InvalidCursor, NotFound
from pareconv.storage.fronts import FrontCost, best_row, pareto_rows
from pareconv.storage.job_states import JobStatus
from pareconv.storage.locking import lock_job
from pareconv.storage.tables import CandidateRow, JobRow
from pareconv.storage.values import Value

__all__ = ["Candidate", "CandidateState", "CandidateStore", "FrontCost", "Measured"]


_CURSOR = re.compile(r"[0-9]{1,9}")


class PlannedCost(TypedDict):
    """What one image costs in the student that a plan makes; its latency where it is reckoned."""

    flops: int
    adds: int
    params: int
    latency_ms: NotRequired[float | None]


class Measured(TypedDict):
    """What is known of a candidate that was trained. `accuracy` is on validation, 0 to 1.

    `compute` is what it cost, in forward passes of one image through the teacher; `rungs` hold
    `images`, `accuracy` and `stderr` each time that its training was looked at.
    """

    accuracy: float
    accuracy_stderr: float
    loss: float
    seconds: float
    images: int
    compute: float
    rungs: list[dict[str, Any]]
    checkpoint: str | None


class Reevaluated(TypedDict):
    """The mean accuracy over so many `evaluations`; `compute` and `seconds` are what the new ones
    alone took, which is added to the candidate's own.
    """

    accuracy: float
    accuracy_stderr: float
    evaluations: int
    compute: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Candidate(Value):
    """A candidate as it was when it was read. Its number is also its trial's number in the study.

    `images` were seen in training; `predicted` is its library's score of the plan; `accuracy` is
    the mean over `evaluations` seeds, 0 of them before it was measured; `checkpoint` is the hash of
    its file; `latency_ms` is the sum over its parts; `finish_accuracy`, `test_accuracy`,
    `finish_compute` and the measured `latencies` are a finalist's; `wanted` is there while it is
    yet to be finished because somebody asked for it, and holds what of its finishing shall be other
    than the job says. Compute is counted in forward passes of one image through the teacher.
    """

    job_id: str
    number: int
    state: CandidateState
    plan: dict[str, str]
    flops: int
    adds: int
    params: int
    latency_ms: float | None
    accuracy: float | None
    accuracy_stderr: float | None
    loss: float | None
    seconds: float | None
    images: int | None
    compute: float | None
    predicted: float | None
    rungs: list[dict[str, Any]]
    evaluations: int
    reason: str | None
    retry_of: int | None
    checkpoint: str | None
    finalist: bool
    finish_accuracy: float | None
    test_accuracy: float | None
    finish_compute: float | None
    latencies: list[dict[str, Any]]
    wanted: dict[str, Any] | None
    created_at: datetime
    finished_at: datetime | None


class CandidateStore:
    """The candidates of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        job_id: str,
        plan: dict[str, str],
        *,
        owner: str | None = None,
        retry_of: int | None = None,
        predicted: float | None = None,
        **cost: Unpack[PlannedCost],
    ) -> Candidate:
        """Add a running candidate with the job's next number, from 0 without gaps; with `owner`,
        only while that worker holds the job's lease, Conflict otherwise.
        """
        with self._database.session() as session:
            job = lock_job(session, job_id)
            if owner is not None:
                leases.require_held(job, owner, self._database.now(session))
            job.candidates_version += 1
            last = select(func.max(CandidateRow.number)).where(CandidateRow.job_id == job_id)
            number = session.scalar(last)
            row = CandidateRow(
                job_id=job_id,
                number=0 if number is None else number + 1,
                state=CandidateState.RUNNING,
                plan=plan,
                predicted=predicted,
                retry_of=retry_of,
                finalist=False,
                created_at=self._database.now(session),
                **cost,
            )
            session.add(row)
            session.flush()
            return Candidate.from_row(row)

    def complete(self, job_id: str, number: int, **measured: Unpack[Measured]) -> bool:
        """End a running candidate with what was measured; False when it was not running."""
        values = {**measured, "evaluations": 1}
        return self._end(job_id, number, state=CandidateState.COMPLETE, **values)

    def stop(self, job_id: str, number: int, reason: str, **measured: Unpack[Measured]) -> bool:
        """End a running candidate early, with what its last rung measured and the reason why.

        Its checkpoint is dropped: nothing goes on from there. False when it was not running.
        """
        values = {**measured, "evaluations": 1, "checkpoint": None}
        return self._end(job_id, number, state=CandidateState.STOPPED, reason=reason, **values)

    def fail(self, job_id: str, number: int, reason: str, *, compute: float | None = None) -> bool:
        """End a running candidate with the reason why, and what it cost as far as that is known;
        False when it was not running.
        """
        values = {"reason": reason, "compute": compute}
        return self._end(job_id, number, state=CandidateState.FAILED, **values)

    def finish(
        self,
        job_id: str,
        number: int,
        *,
        finish_accuracy: float,
        test_accuracy: float,
        compute: float,
        latencies: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Make a complete candidate a finalist; Conflict when it is not complete.

        `compute` is what finishing alone cost; `latencies` are those of the whole network.
        """
        with self._database.session() as session:
            row = _complete(session, job_id, number, "finished")
            row.finalist = True
            row.finish_accuracy = finish_accuracy
            row.test_accuracy = test_accuracy
            row.finish_compute = compute
            row.latencies = list(latencies)
            row.wanted = None

    def want(self, job_id: str, number: int, how: dict[str, Any]) -> bool:
        """Ask to have a complete candidate finished, `how` where other than the job says; False
        where it is a finalist already.

        A job that has succeeded is queued again; one that waits for a worker or runs does it along
        with its finalists. Conflict in any other state, and where the candidate has no weights.
        """
        with self._database.session() as session:
            job = lock_job(session, job_id)
            row = session.get(CandidateRow, (job_id, number))
            if row is not None and row.finalist:
                return False
            row = _complete(session, job_id, number, "finished")
            if row.checkpoint is None:
                raise Conflict(f"candidate {number} of job {job_id} left no weights to go on from")
            if job.status not in {JobStatus.QUEUED, JobStatus.RUNNING}:
                transitions.again(job, self._database.now(session))
            row.wanted = how
            return True

    def unwant(self, job_id: str, number: int) -> None:
        """Ask no longer: it could not be finished."""
        with self._database.session() as session:
            _complete(session, job_id, number, "finished").wanted = None

    def reevaluate(
        self, job_id: str, number: int, *, owner: str | None = None, **again: Unpack[Reevaluated]
    ) -> None:
        """Put the mean over several evaluations in the place of a complete candidate's accuracy.

        Conflict when it is not complete; and, with `owner`, unless that worker holds the job's
        lease.
        """
        with self._database.session() as session:
            if owner is not None:
                leases.require_held(lock_job(session, job_id), owner, self._database.now(session))
            row = _complete(session, job_id, number, "evaluated again")
            row.accuracy = again["accuracy"]
            row.accuracy_stderr = again["accuracy_stderr"]
            row.evaluations = again["evaluations"]
            row.compute = (row.compute or 0.0) + again["compute"]
            row.seconds = (row.seconds or 0.0) + again["seconds"]

    def get(self, job_id: str, number: int) -> Candidate:
        with self._database.session(read_only=True) as session:
            row = session.get(CandidateRow, (job_id, number))
            if row is None:
                raise NotFound("trial", f"{job_id}/{number}")
            return Candidate.from_row(row)

    def all(self, job_id: str) -> list[Candidate]:
        """Every candidate of the job by number."""
        return self._read(_of(job_id))

    def running(self, job_id: str) -> list[Candidate]:
        """The running candidates of the job by number."""
        return self._read(_of(job_id).where(CandidateRow.state == CandidateState.RUNNING))

    def wanted(self, job_id: str) -> list[Candidate]:
        """The candidates that are yet to be finished on request, by number."""
        return self._read(_of(job_id).where(CandidateRow.wanted.is_not(None)))

    def finalists(self, job_id: str) -> list[Candidate]:
        """The candidates that were finished, by number, on the front or not."""
        return self._read(_of(job_id).where(CandidateRow.finalist))

    def page(
        self, job_id: str, limit: int, cursor: str | None = None
    ) -> tuple[list[Candidate], str | None]:
        """Up to `limit` candidates by number, and the cursor of the next page if there is one."""
        query = _of(job_id)
        if cursor is not None:
            if not _CURSOR.fullmatch(cursor):
                raise InvalidCursor(cursor)
            query = query.where(CandidateRow.number > int(cursor))
        # One row more than asked tells whether a next page exists.
        found = self._read(query.limit(limit + 1))
        page = found[:limit]
        return page, str(page[-1].number) if len(found) > limit else None

    def counts(self, job_id: str) -> dict[CandidateState, int]:
        """How many candidates the job has in each state, those with none included."""
        query = (
            select(CandidateRow.state, func.count())
            .where(CandidateRow.job_id == job_id)
            .group_by(CandidateRow.state)
        )
        counts = dict.fromkeys(CandidateState, 0)
        with self._database.session(read_only=True) as session:
            for state, count in session.execute(query):
                counts[state] = count
        return counts

    def front(self, job_id: str, *, cost: FrontCost = "flops") -> list[Candidate]:
        """The Pareto set of the complete candidates, cheapest first; `flops` counts adds too. Over
        the latency it is of those that have one.
        """
        return self._read(pareto_rows(job_id, cost))

    def best(self, job_id: str, *, cost: FrontCost = "flops") -> Candidate | None:
        """The most accurate of the front; None where it is empty."""
        return next(iter(self._read(best_row(job_id, cost))), None)

    def version(self, job_id: str) -> str:
        """A text that changes whenever a candidate of the job, or an artifact of one, changes."""
        query = select(JobRow.candidates_version).where(JobRow.id == job_id)
        with self._database.session(read_only=True) as session:
            version = session.scalar(query)
        if version is None:
            raise NotFound("job", job_id)
        return str(version)

    def _end(self, job_id: str, number: int, **values: Any) -> bool:
        with self._database.session() as session:
            job = lock_job(session, job_id)
            row = session.get(CandidateRow, (job_id, number))
            if row is None or row.state is not CandidateState.RUNNING:
                return False
            for name, value in values.items():
                setattr(row, name, value)
            row.finished_at = self._database.now(session)
            job.candidates_version += 1
            return True

    def _read(self, query: Select[CandidateRow]) -> list[Candidate]:
        with self._database.session(read_only=True) as session:
            return [Candidate.from_row(row) for row in session.scalars(query)]


def _complete(session: Session, job_id: str, number: int, purpose: str) -> CandidateRow:
    """The row of a complete candidate, about to be changed; Conflict when it is not complete."""
    job = lock_job(session, job_id)
    row = session.get(CandidateRow, (job_id, number))
    if row is None:
        raise NotFound("trial", f"{job_id}/{number}")
    if row.state is not CandidateState.COMPLETE:
        raise Conflict(
            f"candidate {number} of job {job_id} is {row.state}; "
            f"only a complete one can be {purpose}"
        )
    job.candidates_version += 1
    return row


def _of(job_id: str) -> Select[CandidateRow]:
    return select(CandidateRow).where(CandidateRow.job_id == job_id).order_by(CandidateRow.number)
