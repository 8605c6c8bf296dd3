"""Studies: where Optuna keeps the mirror of a job's search. Knows its tables by name; no Optuna."""

from sqlalchemy import inspect, text
from sqlalchemy.orm import Session

from pareconv.storage.database import Database

_NAMED = "study_name LIKE :name"
_QUERY = text(f"SELECT study_id FROM studies WHERE {_NAMED} ORDER BY study_id DESC")

# Who refers to a study, before whom he refers to.
_STUDIES = f"study_id IN (SELECT study_id FROM studies WHERE {_NAMED})"
_TRIALS = f"trial_id IN (SELECT trial_id FROM trials WHERE {_STUDIES})"
_BELONGING = {
    "trial_heartbeats": _TRIALS,
    "trial_intermediate_values": _TRIALS,
    "trial_params": _TRIALS,
    "trial_system_attributes": _TRIALS,
    "trial_user_attributes": _TRIALS,
    "trial_values": _TRIALS,
    "trials": _STUDIES,
    "study_directions": _STUDIES,
    "study_system_attributes": _STUDIES,
    "study_user_attributes": _STUDIES,
    "studies": _NAMED,
}


def study_of(database: Database, job_id: str) -> int | None:
    """The id of the job's study; None before its search has begun."""
    with database.session(read_only=True) as session:
        if not _has_studies(session):
            return None
        found: int | None = session.scalar(_QUERY, _named(job_id))
        return found


def forget_study(session: Session, job_id: str) -> None:
    """Delete the job's study with its trials, where there is one."""
    if not _has_studies(session):
        return
    for table, which in _BELONGING.items():
        session.execute(text(f"DELETE FROM {table} WHERE {which}"), _named(job_id))


def _has_studies(session: Session) -> bool:
    return inspect(session.connection()).has_table("studies")


def _named(job_id: str) -> dict[str, str]:
    return {"name": f"%({job_id})"}
