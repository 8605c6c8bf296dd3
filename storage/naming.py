"""Naming: which stored files rows name. What none names is garbage."""

import re
from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from pareconv.storage.database import Database
from pareconv.storage.job_states import ACTIVE
from pareconv.storage.tables import (
    ArtifactRow,
    CandidateRow,
    DatasetRow,
    JobRow,
    LibraryEntryRow,
    ReplacedWeightsRow,
    TeacherRow,
)

_SHA256 = re.compile(r"[0-9a-f]{64}")
_AT_ONCE = 500  # values of a statement

_COLUMNS = (
    TeacherRow.sha256,
    DatasetRow.sha256,
    ArtifactRow.sha256,
    CandidateRow.checkpoint,
    LibraryEntryRow.weights,
)
_WEIGHTS = JobRow.profile["weights"].as_string()  # of its teacher
_IS_DRAWN_ON = exists().where(
    JobRow.library_id == ReplacedWeightsRow.library_id, JobRow.status.in_(ACTIVE)
)
_PATHS = (
    JobRow.spec["teacher"]["weights"].as_string(),
    JobRow.spec["dataset"]["source"].as_string(),
)


def named_files(session: Session, among: Collection[str] | None = None) -> set[str]:
    """The files that rows name: uploads, the teachers of jobs, checkpoints, exports and the weights
    of libraries, also replaced ones on which a running job may draw. Where only those `among`
    matter, others may be left out.
    """
    named = {name for name in session.scalars(select(_WEIGHTS)) if name is not None}
    named.update(_in_paths(session))
    named.update(session.scalars(select(ReplacedWeightsRow.sha256).where(_IS_DRAWN_ON)))
    for column in _COLUMNS:
        for condition in [column.is_not(None)] if among is None else _any_of(column, among):
            named.update(session.scalars(select(column).where(condition)))
    return named


def forget_replaced(database: Database) -> None:
    """Forget the replaced weights of libraries on which no running job draws."""
    with database.session() as session:
        session.execute(delete(ReplacedWeightsRow).where(~_IS_DRAWN_ON))


def is_file_named(database: Database, sha256: str) -> bool:
    """Whether any row names that file."""
    with database.session(read_only=True) as session:
        return sha256 in named_files(session, [sha256])


def named_by_job(session: Session, id: str) -> set[str]:
    """The files that the job's row and those of its candidates name."""
    queries = (
        select(_WEIGHTS).where(JobRow.id == id),
        select(CandidateRow.checkpoint).where(CandidateRow.job_id == id),
        select(ArtifactRow.sha256).where(ArtifactRow.job_id == id),
    )
    return {name for query in queries for name in session.scalars(query) if name is not None}


def _any_of(
    column: InstrumentedAttribute[Any], among: Collection[str]
) -> Iterator[ColumnElement[bool]]:
    values = list(among)
    for start in range(0, len(values), _AT_ONCE):
        yield column.in_(values[start : start + _AT_ONCE])


def _in_paths(session: Session) -> Iterator[str]:
    """A job of the process that asked for it names its files by their paths."""
    for row in session.execute(select(*_PATHS)):
        for value in row:
            if value is not None and value.startswith("file:"):
                yield from _SHA256.findall(value)
