"""Transitions: what else changes in a job's row when its status does. Knows not who asks."""

from datetime import datetime
from typing import Any

from pareconv.storage import leases
from pareconv.storage.errors import Conflict
from pareconv.storage.job_states import ACTIVE, ALLOWED, RESUMABLE, TERMINAL, JobStatus
from pareconv.storage.tables import JobRow


def move(row: JobRow, to: JobStatus, *, now: datetime, error: dict[str, Any] | None = None) -> None:
    """Give the job its next status; Conflict when `ALLOWED` does not have the move."""
    if to not in ALLOWED[row.status]:
        raise Conflict(
            f"job {row.id} is {row.status} and cannot become {to}; "
            f"from there it can become {_listed(ALLOWED[row.status])}"
        )
    row.status = to
    row.error = error
    row.updated_at = now
    row.finished_at = now if to in TERMINAL else None
    if to is JobStatus.RUNNING:
        row.started_at = row.started_at or now
    if to is JobStatus.QUEUED:
        row.queued_at = now
    if to not in ACTIVE:
        leases.drop(row)


def cancel(row: JobRow, now: datetime) -> None:
    """Cancel at once when no worker has the job, else ask its worker; nothing when so already."""
    if row.status in TERMINAL - {JobStatus.CANCELLED}:
        raise Conflict(f"job {row.id} is {row.status}: there is nothing left to cancel")
    if row.status not in {JobStatus.CANCELLING, JobStatus.CANCELLED}:
        move(row, JobStatus.CANCELLING if row.status in ACTIVE else JobStatus.CANCELLED, now=now)
    give_in_for_nobody(row, now)


def pause(row: JobRow, now: datetime) -> None:
    """Pause at once when no worker has the job, else ask its worker; nothing when so already."""
    if row.status in {JobStatus.PAUSING, JobStatus.PAUSED}:
        give_in_for_nobody(row, now)
        return
    to = JobStatus.PAUSING if row.status in ACTIVE else JobStatus.PAUSED
    if to not in ALLOWED[row.status]:
        raise Conflict(
            f"job {row.id} is {row.status}; only a job that is queued or running can be paused"
        )
    move(row, to, now=now)
    give_in_for_nobody(row, now)


def give_in(row: JobRow, now: datetime) -> None:
    """End what its worker was asked to end; Conflict when it was not asked."""
    asked = row.status is JobStatus.PAUSING
    move(row, JobStatus.PAUSED if asked else JobStatus.CANCELLED, now=now)


def give_in_for_nobody(row: JobRow, now: datetime) -> None:
    """End what a worker was asked to end that is dead: the next may be long in coming."""
    if row.status in {JobStatus.PAUSING, JobStatus.CANCELLING} and not leases.is_live(row, now):
        give_in(row, now)


def resume(row: JobRow, now: datetime) -> None:
    """Queue again; Conflict unless the job is paused, failed or cancelled.

    Who paused it goes on with the same time; another try has its time limit anew.
    """
    if row.status not in RESUMABLE:
        is_stopping = row.status in {JobStatus.PAUSING, JobStatus.CANCELLING}
        remedy = "; that takes some seconds, then ask again" if is_stopping else ""
        raise Conflict(
            f"job {row.id} is {row.status}; only a job that is {_listed(RESUMABLE)} can be "
            f"resumed{remedy}"
        )
    if row.status is not JobStatus.PAUSED:
        row.worked_s = 0.0
    move(row, JobStatus.QUEUED, now=now)


def again(row: JobRow, now: datetime) -> None:
    """Queue a job that has succeeded, of which more is asked; Conflict unless it has."""
    if row.status is not JobStatus.SUCCEEDED:
        remedy = (
            "resume it first"
            if row.status in RESUMABLE
            else f"wait until it has ended ({_listed(TERMINAL)})"
        )
        raise Conflict(f"job {row.id} is {row.status}, and more is asked of it: {remedy}")
    move(row, JobStatus.QUEUED, now=now)
    row.started_at = None
    row.progress = 0.0
    row.worked_s = 0.0


def _listed(statuses: frozenset[JobStatus]) -> str:
    return " or ".join(sorted(statuses))
