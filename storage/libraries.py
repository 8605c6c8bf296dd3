"""Libraries: what was distilled block by block for one teacher, data set and recipe.

The contract, the same on every database:

- There is one library of a key, made by whoever opens it first; jobs share it.
- It is built by one worker at a time, which holds its lease: as with jobs, who no longer holds
  the lease can write nothing. Reading needs none.
- Whose job builds or draws on it sees it: it is shared by what is in it. A token that deletes it
  forgets it; it goes once no job of another refers to it. Workers see all.
- Values returned are copies.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NotRequired, TypedDict, Unpack

from sqlalchemy import Exists, exists, select, union, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from pareconv.storage import leases
from pareconv.storage.access import EVERYTHING, Access
from pareconv.storage.database import Database
from pareconv.storage.errors import Conflict, NotFound
from pareconv.storage.job_states import ACTIVE
from pareconv.storage.pages import newest_first
from pareconv.storage.tables import JobRow, LibraryEntryRow, LibraryRow, ReplacedWeightsRow
from pareconv.storage.values import Value

__all__ = ["Entry", "Library", "LibraryStore", "NewEntry", "Subject"]


class Subject(TypedDict):
    """What a library is of. `key` is the SHA-256 of it all.

    `teacher` is the SHA-256 of its weights, `data` that of the training and validation images;
    `teacher_cost` holds `flops`, `params` and `adds` for one image.
    """

    key: str
    architecture: str
    teacher: str
    data: str
    recipe: dict[str, Any]
    teacher_cost: dict[str, Any]


class NewEntry(TypedDict):
    """One option of one block as it is now, learnt by imitating the teacher's block.

    `version` is the operator's; `rungs` of training are done, after which it is `settled` or not;
    `images` were seen in them; `loss` is the block's own; `score` is what it costs the network
    when it is the only change, over `score_images` images; `flops`, `params` and `adds` are its
    change of the teacher's cost, so negative where it saves; `weights` is the hash of their file.
    """

    block: str
    option: str
    version: int
    rungs: int
    settled: bool
    images: int
    loss: float
    score: NotRequired[float | None]
    score_stderr: NotRequired[float | None]
    score_images: NotRequired[int | None]
    flops: int
    params: int
    adds: int
    weights: str


_NOT_SCORED = {"score": None, "score_stderr": None, "score_images": None}


@dataclass(frozen=True, slots=True)
class Entry(Value):
    """An entry as it was when it was read; its fields are those of `NewEntry`."""

    block: str
    option: str
    version: int
    rungs: int
    settled: bool
    images: int
    loss: float
    score: float | None
    score_stderr: float | None
    score_images: int | None
    flops: int
    params: int
    adds: int
    weights: str
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Library(Value):
    """A library as it was when it was read, without its entries; see `Subject` for what it is of.

    `front` is the predicted one, as the solver left it; `compute` went into building it, in forward
    passes of one image through the teacher; `is_building` tells whether a worker held it.
    """

    id: str
    key: str
    architecture: str
    teacher: str
    data: str
    recipe: dict[str, Any]
    teacher_cost: dict[str, Any]
    front: list[dict[str, Any]] | None
    compute: float
    lease_owner: str | None
    lease_expires_at: datetime | None
    created_at: datetime
    updated_at: datetime
    is_building: bool


class LibraryStore:
    """The libraries of one database."""

    def __init__(self, database: Database, access: Access = EVERYTHING) -> None:
        self._database = database
        self._access = access

    def open(self, **subject: Unpack[Subject]) -> Library:
        """The library of that key, made now unless it is there already."""
        try:
            return self._insert(LibraryRow(**subject))
        except IntegrityError:  # only the key can be there already
            return self._of_key(subject["key"])

    def get(self, id: str) -> Library:
        with self._database.session(read_only=True) as session:
            row = session.get(LibraryRow, id)
            if row is None or not self._sees(session, id):
                raise NotFound("library", id)
            return self._value(session, row)

    def page(self, limit: int, cursor: str | None = None) -> tuple[list[Library], str | None]:
        """Up to `limit` libraries, newest first, and the cursor of the next page if any."""
        query = select(LibraryRow)
        if not self._access.sees_all:
            query = query.where(self._is_used())
        with self._database.session(read_only=True) as session:
            rows, following = newest_first(
                session, query, LibraryRow.id, limit=limit, cursor=cursor
            )
            return [self._value(session, row) for row in rows], following

    def delete(self, id: str) -> set[str]:
        """Forget a library with its entries; their files, which are not touched.

        Raises Conflict while a worker builds it or has a job that refers to it. A job that is in no
        worker's hands forgets it. Who does not see all makes his own jobs forget it, and it itself
        goes if they were the last.
        """
        with self._database.session() as session:
            # Locked whole: no job can begin to refer to it until it is gone.
            row = session.get(LibraryRow, id, with_for_update=True)
            if row is None or not self._sees(session, id):
                raise NotFound("library", id)
            if not self._access.sees_all and self._is_shared(session, id):
                _refuse_needed(session, id, self._access)
                own = update(JobRow).where(JobRow.token_id == self._access.token_id)
                session.execute(own.where(JobRow.library_id == id).values(library_id=None))
                return set()
            if leases.is_live(row, self._database.now(session)):
                raise Conflict(
                    f"library {id} is being built by worker {row.lease_owner!r}; "
                    "cancel its job, or wait until it is built"
                )
            _refuse_needed(session, id, self._access)
            files = set(
                session.scalars(
                    union(
                        select(LibraryEntryRow.weights).where(LibraryEntryRow.library_id == id),
                        select(ReplacedWeightsRow.sha256).where(
                            ReplacedWeightsRow.library_id == id
                        ),
                    )
                )
            )
            session.delete(row)
            return files

    def claim(self, id: str, owner: str, seconds: float) -> bool:
        """Give `owner` the lease if it is free, has run out or is its own already.

        Raises NotFound for an unknown id: nobody should wait for that.
        """
        with self._database.session() as session:
            row = _find_and_lock(session, id)
            if row is None:
                raise NotFound("library", id)
            now = self._database.now(session)
            if leases.is_live(row, now) and row.lease_owner != owner:
                return False
            leases.grant(row, owner, now=now, seconds=seconds)
            return True

    def renew(self, id: str, owner: str, seconds: float) -> bool:
        """Prolong the lease; False when `owner` no longer holds it."""
        with self._held(id, owner) as (row, now):
            if row is None:
                return False
            leases.grant(row, owner, now=now, seconds=seconds)
            return True

    def release(self, id: str, owner: str) -> None:
        """Give the lease up, if `owner` still holds it."""
        with self._held(id, owner) as (row, _):
            if row is not None:
                leases.drop(row)

    def entries(self, id: str) -> list[Entry]:
        """Every entry by block and option; none for an unknown id."""
        query = (
            select(LibraryEntryRow)
            .where(LibraryEntryRow.library_id == id)
            .order_by(LibraryEntryRow.block, LibraryEntryRow.option)
        )
        with self._database.session(read_only=True) as session:
            return [Entry.from_row(row) for row in session.scalars(query)]

    def put(self, id: str, owner: str, entries: Sequence[NewEntry], compute: float) -> bool:
        """Add entries, or put them whole in the place of the former ones, and add their compute.

        The predicted front, which was of the former entries, is forgotten.

        All of it or nothing: False, and nothing, when `owner` no longer holds the lease.
        """
        with self._database.session() as session:
            row, now = self._locked(session, id, owner)
            if row is None:
                return False
            for entry in entries:
                _remember_weights(session, id, entry)
                values: dict[str, Any] = {**_NOT_SCORED, **entry}
                session.merge(LibraryEntryRow(library_id=id, updated_at=now, **values))
            row.compute += compute
            row.front = None  # it was of the former entries
            row.updated_at = now
            return True

    def set_front(self, id: str, owner: str, front: list[dict[str, Any]]) -> bool:
        """Keep the predicted front; False, and nothing, when `owner` no longer holds the lease."""
        with self._held(id, owner) as (row, now):
            if row is None:
                return False
            row.front = front
            row.updated_at = now
            return True

    def _sees(self, session: Session, id: str) -> bool:
        if self._access.sees_all:
            return True
        return bool(session.scalar(select(self._is_used().where(LibraryRow.id == id))))

    def _is_used(self) -> Exists:
        """Condition: a job of the token's own builds the library or draws on it."""
        is_own = JobRow.token_id == self._access.token_id
        return exists().where(JobRow.library_id == LibraryRow.id, is_own)

    def _is_shared(self, session: Session, id: str) -> bool:
        """Whether a job of another token refers to it."""
        is_needed = exists().where(
            JobRow.library_id == id, JobRow.token_id != self._access.token_id
        )
        return bool(session.scalar(select(is_needed)))

    def _insert(self, row: LibraryRow) -> Library:
        with self._database.session() as session:
            row.created_at = row.updated_at = self._database.now(session)
            session.add(row)
            session.flush()
            return self._value(session, row)

    def _of_key(self, key: str) -> Library:
        with self._database.session(read_only=True) as session:
            row = session.scalars(select(LibraryRow).where(LibraryRow.key == key)).one()
            return self._value(session, row)

    def _value(self, session: Session, row: LibraryRow) -> Library:
        return Library.from_row(row, is_building=leases.is_live(row, self._database.now(session)))

    @contextmanager
    def _held(self, id: str, owner: str) -> Iterator[tuple[LibraryRow | None, datetime]]:
        with self._database.session() as session:
            yield self._locked(session, id, owner)

    def _locked(self, session: Session, id: str, owner: str) -> tuple[LibraryRow | None, datetime]:
        """The locked row while `owner` holds its lease, else None; and the time."""
        row = _find_and_lock(session, id)
        now = self._database.now(session)
        return (row if row is not None and leases.is_held(row, owner, now) else None), now


def _find_and_lock(session: Session, id: str) -> LibraryRow | None:
    # `key_share`: jobs may still begin to refer to it meanwhile.
    return session.get(LibraryRow, id, with_for_update={"key_share": True})


def _remember_weights(session: Session, id: str, entry: NewEntry) -> None:
    """Another job may be in the middle of its search, with the entry as it was when it began."""
    former = session.get(LibraryEntryRow, (id, entry["block"], entry["option"]))
    if former is not None and former.weights != entry["weights"]:
        session.merge(ReplacedWeightsRow(library_id=id, sha256=former.weights))


def _refuse_needed(session: Session, id: str, access: Access) -> None:
    query = select(JobRow).where(JobRow.library_id == id).order_by(JobRow.id)
    query = access.narrow(query, JobRow.token_id)
    for job in session.scalars(query.with_for_update(key_share=True)):
        if job.status in ACTIVE:
            raise Conflict(
                f"library {id} is needed by job {job.id}, which is {job.status}; "
                "cancel that job or wait until it has finished"
            )
