"""Leases: which worker has a job in its hands, and until when. Reads no clock, asks no database."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, or_

from pareconv.storage.job_states import ACTIVE, JobStatus
from pareconv.storage.tables import JobRow


def waits_for_worker(now: datetime) -> ColumnElement[bool]:
    """Condition: the job is queued, or its worker gave it up or let its lease run out."""
    is_free = or_(JobRow.lease_expires_at.is_(None), JobRow.lease_expires_at <= now)
    return or_(JobRow.status == JobStatus.QUEUED, and_(JobRow.status.in_(ACTIVE), is_free))


def is_held(row: JobRow, owner: str, now: datetime) -> bool:
    # A lease that ran out is lost, taken over or not: another worker may be about to take it.
    ends = row.lease_expires_at
    return row.lease_owner == owner and ends is not None and ends > now


def grant(row: JobRow, owner: str, *, now: datetime, seconds: float) -> None:
    row.lease_owner = owner
    row.lease_expires_at = now + timedelta(seconds=seconds)


def drop(row: JobRow) -> None:
    row.lease_owner = None
    row.lease_expires_at = None
