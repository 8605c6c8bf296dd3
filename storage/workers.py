"""Workers: signs of life of those that there are, with the GPUs they see. Holds nobody to account:
who owns a job is its lease's to say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from pareconv.storage.database import Database
from pareconv.storage.tables import WorkerRow
from pareconv.storage.values import Value

_FORGOTTEN_AFTER = timedelta(hours=1)
_ALIVE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class WorkerSeen(Value):
    """A worker when it was last seen. Of each GPU `gpus` has `id`, `name`, `used_bytes` and
    `total_bytes`, whoever uses it.
    """

    owner: str
    host: str
    gpus: list[dict[str, Any]]
    seen_at: datetime


def alive(session: Session, now: datetime) -> list[WorkerSeen]:
    """Those that were seen within a minute."""
    rows = select(WorkerRow).where(WorkerRow.seen_at > now - _ALIVE).order_by(WorkerRow.seen_at)
    return [WorkerSeen.from_row(row) for row in session.scalars(rows)]


class WorkerStore:
    """The workers of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def saw(self, owner: str, *, host: str, gpus: Sequence[dict[str, Any]] = ()) -> WorkerSeen:
        """Note that a worker lives; those that were not seen for an hour are forgotten."""
        with self._database.session() as session:
            now = self._database.now(session)
            session.execute(delete(WorkerRow).where(WorkerRow.seen_at < now - _FORGOTTEN_AFTER))
            row = session.merge(WorkerRow(owner=owner, host=host, gpus=list(gpus), seen_at=now))
            session.flush()
            return WorkerSeen.from_row(row)

    def alive(self) -> list[WorkerSeen]:
        """Those that were seen within a minute."""
        with self._database.session(read_only=True) as session:
            return alive(session, self._database.now(session))

    def left(self, owner: str) -> None:
        """Forget a worker that ends."""
        with self._database.session() as session:
            session.execute(delete(WorkerRow).where(WorkerRow.owner == owner))
