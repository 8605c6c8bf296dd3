"""Latencies: how long parts of networks take on some device, measured once and found again.

A table is of one device, runtime, batch size, number of threads and set of library versions; a
token's jobs share it, and add what they measured. It is that token's alone: what somebody else says
that a device takes decides none of its plans.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypedDict, Unpack

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from pareconv.storage.access import EVERYTHING, Access
from pareconv.storage.database import Database
from pareconv.storage.errors import NotFound
from pareconv.storage.pages import newest_first
from pareconv.storage.tables import LatencyRow, LatencyTableRow
from pareconv.storage.values import Value


class LatencySubject(TypedDict):
    """What a table is of: `batch` images at once, on so many CPU threads of the named device."""

    device: str
    runtime: str
    batch: int
    threads: int
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class LatencyTable(Value):
    """A table as it was when it was read; `size` is the number of latencies in it."""

    id: str
    device: str
    runtime: str
    batch: int
    threads: int
    versions: dict[str, Any]
    created_at: datetime
    size: int


@dataclass(frozen=True, slots=True)
class Latency(Value):
    """How long a part takes, and in the same turns the part as the teacher has it: medians, and
    half the distance between the quartiles of the first, in milliseconds.

    `key` is the SHA-256 of the part's layers, the option, and the `shape` of what goes in.
    """

    key: str
    option: str
    shape: str
    ms: float
    kept_ms: float
    spread_ms: float


class LatencyStore:
    """The latency tables of one database."""

    def __init__(self, database: Database, access: Access = EVERYTHING) -> None:
        self._database = database
        self._access = access

    def open(self, **subject: Unpack[LatencySubject]) -> LatencyTable:
        """The token's one table of that subject, made now unless it is there already."""
        key, token_id = _key(subject), self._access.token_id
        try:
            with self._database.session() as session:
                now = self._database.now(session)
                row = LatencyTableRow(token_id=token_id, key=key, created_at=now, **subject)
                session.add(row)
                session.flush()
                return _table(session, row)
        except IntegrityError:  # only the key can be there already
            with self._database.session(read_only=True) as session:
                query = select(LatencyTableRow).where(
                    LatencyTableRow.key == key, LatencyTableRow.token_id == token_id
                )
                return _table(session, session.scalars(query).one())

    def get(self, id: str) -> LatencyTable:
        with self._database.session(read_only=True) as session:
            return _table(session, self._found(session, id))

    def page(self, limit: int, cursor: str | None = None) -> tuple[list[LatencyTable], str | None]:
        """Up to `limit` tables, newest first, and the cursor of the next page if there is one."""
        with self._database.session(read_only=True) as session:
            query = self._access.narrow(select(LatencyTableRow), LatencyTableRow.token_id)
            rows, following = newest_first(
                session, query, LatencyTableRow.id, limit=limit, cursor=cursor
            )
            return [_table(session, row) for row in rows], following

    def delete(self, id: str) -> None:
        """Forget a table and all that is in it: what jobs need of it is measured again."""
        with self._database.session() as session:
            session.delete(self._found(session, id))

    def latencies(self, id: str) -> list[Latency]:
        """All of a table by key; none for an unknown id."""
        query = select(LatencyRow).where(LatencyRow.table_id == id).order_by(LatencyRow.key)
        with self._database.session(read_only=True) as session:
            return [Latency.from_row(row) for row in session.scalars(query)]

    def of(self, **subject: Unpack[LatencySubject]) -> list[Latency]:
        """All of the token's table of that subject by key; none where there is no such table."""
        query = (
            select(LatencyRow)
            .join(LatencyTableRow, LatencyRow.table_id == LatencyTableRow.id)
            .where(
                LatencyTableRow.key == _key(subject),
                LatencyTableRow.token_id == self._access.token_id,
            )
            .order_by(LatencyRow.key)
        )
        with self._database.session(read_only=True) as session:
            return [Latency.from_row(row) for row in session.scalars(query)]

    def put(self, id: str, latencies: Iterable[Latency]) -> None:
        """Add latencies; NotFound for an unknown id. Of a key that is there the former one stays,
        so that every job reckons with the same.
        """
        with self._database.session() as session:
            # Locked, so that two that measured the same do not both add it.
            self._found(session, id, lock=True)
            known = set(session.scalars(select(LatencyRow.key).where(LatencyRow.table_id == id)))
            for each in latencies:
                if each.key not in known:
                    known.add(each.key)
                    session.add(LatencyRow(table_id=id, **asdict(each)))

    def _found(self, session: Session, id: str, *, lock: bool = False) -> LatencyTableRow:
        row = session.get(LatencyTableRow, id, with_for_update=True if lock else None)
        if row is None or not self._access.sees(row.token_id):
            raise NotFound("latency table", id)
        return row


def _key(subject: LatencySubject) -> str:
    return hashlib.sha256(json.dumps(subject, sort_keys=True).encode()).hexdigest()


def _table(session: Session, row: LatencyTableRow) -> LatencyTable:
    count = select(func.count()).where(LatencyRow.table_id == row.id)
    return LatencyTable.from_row(row, size=session.scalar(count) or 0)
