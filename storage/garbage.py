"""Garbage: stored files that no row names any more, and when they may go.

What a worker's task stored is named by a row only when the worker has heard of it, and an upload
only after it was checked. So nothing goes that was stored since the oldest running job began (by a
minute, as clocks differ), and a collection leaves alone what is younger than its grace. Weights of
a library that were replaced since stay while a running job may draw on them.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from pareconv.storage.database import Database
from pareconv.storage.files import FileStore
from pareconv.storage.job_states import ACTIVE
from pareconv.storage.naming import forget_replaced, named_files
from pareconv.storage.tables import JobRow

_CLOCKS_DIFFER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection removed, or would remove, of all that was stored: files and bytes."""

    files: int
    size_bytes: int
    all_files: int
    all_bytes: int


class Garbage:
    """The garbage of one deployment."""

    def __init__(self, database: Database, files: FileStore) -> None:
        self._database = database
        self._files = files

    def free(self, sha256s: Collection[str]) -> None:
        """Remove those of the files that no row names. What may yet be about to be named, as it was
        stored since the oldest running job began, is left to the next collection.
        """
        moment = self._oldest_use(timedelta(0))
        with self._database.session(read_only=True) as session:
            named = named_files(session, sha256s)
        for sha256 in set(sha256s) - named:
            self._files.delete_older(sha256, moment)

    def collect(self, grace: timedelta, *, dry_run: bool = False) -> Collected:
        """Remove every file that no row names and that nobody stored within `grace`, and what
        processes that were killed left half stored. Other processes may go on meanwhile.
        """
        moment = self._oldest_use(grace)
        sizes = self._files.sizes()
        # Asked after the files were listed: what gets a name from now on is stored anew as well.
        with self._database.session(read_only=True) as session:
            named = named_files(session)
        remove = self._files.is_older if dry_run else self._files.delete_older
        removed = [sha256 for sha256 in sizes.keys() - named if remove(sha256, moment)]
        if not dry_run:
            self._files.tidy(named, moment)
            forget_replaced(self._database)
        return Collected(
            files=len(removed),
            size_bytes=sum(sizes[sha256] for sha256 in removed),
            all_files=len(sizes),
            all_bytes=sum(sizes.values()),
        )

    def _oldest_use(self, grace: timedelta) -> datetime:
        running = select(func.min(JobRow.started_at)).where(JobRow.status.in_(ACTIVE))
        with self._database.session(read_only=True) as session:
            now = self._database.now(session)
            began: datetime | None = session.scalar(running)
        return min(now - grace, now if began is None else began - _CLOCKS_DIFFER)
