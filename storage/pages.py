"""Pages: a slice of a long list, found by key, so that the last page costs as much as the first."""

from typing import TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from pareconv.storage.errors import InvalidCursor
from pareconv.storage.ids import is_id
from pareconv.storage.tables import Base

RowT = TypeVar("RowT", bound=Base)


def newest_first(
    session: Session,
    query: Select[RowT],
    key: InstrumentedAttribute[str],
    *,
    limit: int,
    cursor: str | None,
) -> tuple[list[RowT], str | None]:
    """Up to `limit` rows by falling id, and the next page's cursor: the last id of this one."""
    if cursor is not None:
        if not is_id(cursor):
            raise InvalidCursor(cursor)
        query = query.where(key < cursor)
    # One row more than asked tells whether a next page exists.
    rows = list(session.scalars(query.order_by(key.desc()).limit(limit + 1)))
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], str(getattr(rows[limit - 1], key.key))
