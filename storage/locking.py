"""The lock of a job: whoever changes a job or what hangs on it holds its row until the end.

So changes of one job follow one another, and what is numbered in it is numbered in commit order.
"""

from sqlalchemy.orm import Session

from pareconv.storage.errors import NotFound
from pareconv.storage.tables import JobRow


def find_and_lock(session: Session, job_id: str) -> JobRow | None:
    """The job's row, locked until the transaction ends; None when there is no such job."""
    # `key_share`: rows that refer to the job by its id may still be inserted meanwhile.
    return session.get(JobRow, job_id, with_for_update={"key_share": True})


def lock_job(session: Session, job_id: str) -> JobRow:
    """The job's row, locked until the transaction ends; NotFound when there is no such job."""
    row = find_and_lock(session, job_id)
    if row is None:
        raise NotFound("job", job_id)
    return row
