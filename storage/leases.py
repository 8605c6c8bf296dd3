"""Leases: which worker has a job or a library in its hands, and until when.

Reads no clock, asks no database.
"""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, or_

from pareconv.storage.errors import Conflict
from pareconv.storage.job_states import ACTIVE, JobStatus
from pareconv.storage.tables import JobRow, Leased


def waits_for_worker(now: datetime) -> ColumnElement[bool]:
    """Condition: the job is queued, or its worker gave it up or let its lease run out."""
    is_free = or_(JobRow.lease_expires_at.is_(None), JobRow.lease_expires_at <= now)
    return or_(JobRow.status == JobStatus.QUEUED, and_(JobRow.status.in_(ACTIVE), is_free))


def is_live(row: Leased, now: datetime) -> bool:
    ends = row.lease_expires_at
    return ends is not None and ends > now


def is_held(row: Leased, owner: str, now: datetime) -> bool:
    # A lease that ran out is lost, taken over or not: another worker may be about to take it.
    return row.lease_owner == owner and is_live(row, now)


def require_held(row: JobRow, owner: str, now: datetime) -> None:
    """Raise Conflict unless `owner` holds the job's lease."""
    if not is_held(row, owner, now):
        raise Conflict(f"worker {owner!r} no longer holds job {row.id}, which is {row.status}")


def grant(row: Leased, owner: str, *, now: datetime, seconds: float) -> None:
    row.lease_owner = owner
    row.lease_expires_at = now + timedelta(seconds=seconds)


def drop(row: Leased) -> None:
    row.lease_owner = None
    row.lease_expires_at = None
