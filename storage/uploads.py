"""Uploads: the teachers and data sets that users sent. Knows names and hashes, never the bytes.

Somebody's `access` bounds what he sees, and what he adds is his: the same file that two sent has a
row of each, and neither finds out about the other.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from pareconv.storage.access import EVERYTHING, Access
from pareconv.storage.database import Database
from pareconv.storage.errors import NotFound
from pareconv.storage.pages import newest_first
from pareconv.storage.tables import DatasetRow, TeacherRow, UploadRow
from pareconv.storage.values import Value

Kind = Literal["teacher", "dataset"]

_ROWS: dict[Kind, type[UploadRow]] = {"teacher": TeacherRow, "dataset": DatasetRow}


@dataclass(frozen=True, slots=True)
class Upload(Value):
    """A file that a user sent; `sha256` names it in the file store, `summary` says what it is."""

    id: str
    name: str
    filename: str
    sha256: str
    size_bytes: int
    summary: dict[str, Any]
    created_at: datetime


class UploadStore:
    """The uploads of one kind in one database."""

    def __init__(self, database: Database, kind: Kind, access: Access = EVERYTHING) -> None:
        self._database = database
        self._access = access
        self._kind = kind
        self._row = _ROWS[kind]

    def add(
        self, name: str, filename: str, sha256: str, size_bytes: int, summary: dict[str, Any]
    ) -> Upload:
        """Remember an upload; the same bytes again give the first upload as it is."""
        row = self._row(
            token_id=self._access.token_id,
            name=name,
            filename=filename,
            sha256=sha256,
            size_bytes=size_bytes,
            summary=summary,
        )
        try:
            return self._insert(row)
        except IntegrityError:  # only the hash can be there already
            first = self.find(sha256)
            assert first is not None
            return first

    def find(self, sha256: str) -> Upload | None:
        """The token's own upload of that file, where there is one."""
        query = select(self._row).where(
            self._row.sha256 == sha256, self._row.token_id == self._access.token_id
        )
        with self._database.session(read_only=True) as session:
            row = session.scalars(query).one_or_none()
            return None if row is None else Upload.from_row(row)

    def count(self) -> int:
        """How many uploads are the token's own."""
        query = select(func.count()).where(self._row.token_id == self._access.token_id)
        with self._database.session(read_only=True) as session:
            return session.scalar(query) or 0

    def get(self, id: str) -> Upload:
        with self._database.session(read_only=True) as session:
            return Upload.from_row(self._found(session, id))

    def page(self, limit: int, cursor: str | None = None) -> tuple[list[Upload], str | None]:
        """Up to `limit` uploads, newest first, and the cursor of the next page if there is one."""
        with self._database.session(read_only=True) as session:
            query = self._access.narrow(select(self._row), self._row.token_id)
            rows, following = newest_first(session, query, self._row.id, limit=limit, cursor=cursor)
            return [Upload.from_row(row) for row in rows], following

    def delete(self, id: str) -> None:
        """Forget an upload; its file is not touched."""
        with self._database.session() as session:
            session.delete(self._found(session, id))

    def _insert(self, row: UploadRow) -> Upload:
        with self._database.session() as session:
            row.created_at = self._database.now(session)
            session.add(row)
            session.flush()
            return Upload.from_row(row)

    def _found(self, session: Session, id: str) -> UploadRow:
        row = session.get(self._row, id)
        if row is None or not self._access.sees(row.token_id):
            raise NotFound(self._kind, id)
        return row
