"""Studies: where Optuna keeps the mirror of a job's search. Reads its table by name; no Optuna."""

from sqlalchemy import inspect, text

from pareconv.storage.database import Database

_QUERY = text("SELECT study_id FROM studies WHERE study_name LIKE :name ORDER BY study_id DESC")


def study_of(database: Database, job_id: str) -> int | None:
    """The id of the job's study; None before its search has begun."""
    with database.session(read_only=True) as session:
        if not inspect(session.connection()).has_table("studies"):
            return None
        found: int | None = session.scalar(_QUERY, {"name": f"%({job_id})"})
        return found
