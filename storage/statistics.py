"""Statistics: what monitoring asks of the whole database, in a few indexed queries."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pareconv.storage.candidate_states import CandidateState
from pareconv.storage.database import Database
from pareconv.storage.job_states import JobStatus
from pareconv.storage.tables import CandidateRow, JobRow, JobTimeRow
from pareconv.storage.workers import WorkerSeen, alive

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Statistics:
    """How things stand. `trials` are all that there are, `ended` those that ended within the last
    hour; `seconds` and `times` are by phase (`queue` and the stages), over all jobs that are there;
    `oldest_wait_s` is how long the first of the queue waits by now, 0 with nobody in it; `workers`
    were seen within a minute.
    """

    jobs: dict[JobStatus, int]
    trials: dict[CandidateState, int]
    ended: dict[CandidateState, int]
    seconds: dict[str, float]
    times: dict[str, int]
    oldest_wait_s: float
    workers: list[WorkerSeen]


class StatisticsStore:
    """The statistics of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self) -> Statistics:
        with self._database.session(read_only=True) as session:
            now = self._database.now(session)
            phases = session.execute(
                select(
                    JobTimeRow.phase, func.sum(JobTimeRow.seconds), func.sum(JobTimeRow.times)
                ).group_by(JobTimeRow.phase)
            ).all()
            return Statistics(
                jobs=_jobs(session),
                trials=_trials(session),
                ended=_trials(session, since=now - _HOUR),
                seconds={phase: seconds for phase, seconds, _ in phases},
                times={phase: int(times) for phase, _, times in phases},
                oldest_wait_s=_oldest_wait(session, now),
                workers=alive(session, now),
            )


def _jobs(session: Session) -> dict[JobStatus, int]:
    query = select(JobRow.status, func.count()).group_by(JobRow.status)
    return dict.fromkeys(JobStatus, 0) | dict(session.execute(query).all())


def _trials(session: Session, since: datetime | None = None) -> dict[CandidateState, int]:
    query = select(CandidateRow.state, func.count()).group_by(CandidateRow.state)
    if since is not None:
        query = query.where(CandidateRow.finished_at > since)
    return dict.fromkeys(CandidateState, 0) | dict(session.execute(query).all())


def _oldest_wait(session: Session, now: datetime) -> float:
    query = select(func.min(JobRow.queued_at)).where(JobRow.status == JobStatus.QUEUED)
    first = session.scalar(query)
    return 0.0 if first is None else max(0.0, (now - first).total_seconds())
