"""Where the time of a job went: in the queue, and in each stage. Reads no clock.

Counted while its row is locked, by whoever holds its lease: what a worker did that was killed is
counted up to its last sign of life.
"""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from pareconv.storage.job_states import Stage
from pareconv.storage.tables import JobRow, JobTimeRow

QUEUE = "queue"


def waited(session: Session, row: JobRow, now: datetime) -> None:
    """The job leaves the queue."""
    _add(session, row.id, QUEUE, (now - row.queued_at).total_seconds(), times=1)


def worked(session: Session, row: JobRow, now: datetime) -> None:
    """Its worker lives, and worked on it since its last sign of life."""
    if row.renewed_at is not None:
        seconds = max(0.0, (now - row.renewed_at).total_seconds())
        row.worked_s += seconds
        _add(session, row.id, row.stage or Stage.PROFILE, seconds, times=0)
    row.renewed_at = now


def of_job(session: Session, job_id: str) -> dict[str, float]:
    """Seconds in each phase that it was in."""
    query = select(JobTimeRow.phase, JobTimeRow.seconds).where(JobTimeRow.job_id == job_id)
    return {row.phase: row.seconds for row in session.execute(query)}


def _add(session: Session, job_id: str, phase: str, seconds: float, *, times: int) -> None:
    row = session.get(JobTimeRow, (job_id, phase))
    if row is None:
        session.add(JobTimeRow(job_id=job_id, phase=phase, seconds=seconds, times=1))
    else:
        row.seconds += seconds
        row.times += times
