"""The database: its engine, its clock, and the one place that begins, commits and rolls back.

On SQLite (WAL) a transaction that may write begins IMMEDIATE, so that a read in it cannot be
outdated by the time it writes; on PostgreSQL the stores lock the rows they are about to change.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select, text
from sqlalchemy.exc import ArgumentError, DataError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from pareconv.storage import schema
from pareconv.storage.errors import InvalidDatabaseUrl, InvalidValue, Unavailable

_BUSY_SECONDS = 30
_DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}
_MIGRATION_LOCK = 0x70617265  # any number that nothing else in the database locks


class Database:
    """One database, by URL: `sqlite://` (memory), `sqlite:///<path>` or `postgresql://...`.

    Threads may share it; a process that forks or spawns makes its own.
    """

    def __init__(self, url: str) -> None:
        self._url = _parsed(url)
        self._engine = _engine(self._url)
        self._readers = self._engine.execution_options(
            pareconv_read_only=True, postgresql_readonly=True
        )
        # A database in memory is one connection: transactions of several threads take turns.
        self._turn: AbstractContextManager[Any] = (
            threading.Lock() if _is_in_memory(self._url) else nullcontext()
        )

    @property
    def url(self) -> str:
        """The URL as SQLAlchemy and Optuna take it, password included: not for a log."""
        return self._url.render_as_string(hide_password=False)

    @contextmanager
    def session(self, *, read_only: bool = False) -> Iterator[Session]:
        """One transaction: committed at the end, rolled back by an exception, closed in any case.

        Never one inside another: on SQLite the inner would wait for the outer. Raises Unavailable
        when the database cannot be reached or stays locked, InvalidValue for what it cannot hold.
        """
        engine = self._readers if read_only else self._engine
        with _translated(), self._turn, Session(engine) as session, session.begin():
            yield session

    def now(self, session: Session) -> datetime:
        """The database's clock (UTC): leases must not hang on the clocks of several machines."""
        if self._url.get_backend_name() == "sqlite":
            return datetime.now(UTC)
        now: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
        return now.astimezone(UTC)

    def migrate(self) -> None:
        """Bring the schema to the newest revision; several processes may do so at once.

        Raises SchemaMismatch when the database was made by a newer version of the code.
        """
        with (
            _translated(),
            self._turn,
            self._engine.connect() as connection,
            _without_cascades(connection),
            connection.begin(),
        ):
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            schema.upgrade(connection)

    def revision(self) -> str | None:
        """The schema's revision; None before the first `migrate`."""
        with _translated(), self._turn, self._readers.connect() as connection:
            return schema.revision(connection)

    def check(self) -> None:
        """Raise Unavailable unless the database answers."""
        with self.session(read_only=True) as session:
            session.execute(text("SELECT 1"))

    def close(self) -> None:
        self._engine.dispose()


@contextmanager
def _without_cascades(connection: Connection) -> Iterator[None]:
    """SQLite alters a table by dropping it, which would delete the rows that refer to its own.

    To be entered before the transaction begins: in one the setting cannot change.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    driver = cast(sqlite3.Connection, connection.connection.driver_connection)
    driver.execute("PRAGMA foreign_keys = OFF").close()
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys = ON").close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise Unavailable(f"the database does not answer as it should: {error.orig}") from error
    except (DataError, OverflowError, UnicodeEncodeError) as error:
        reason = error.orig if isinstance(error, DataError) else error
        raise InvalidValue(f"a value that the database cannot hold: {reason}") from error
    except PoolTimeoutError as error:
        raise Unavailable("every connection to the database is in use") from error


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidDatabaseUrl(
            "the database URL cannot be read; use sqlite:///<path> or "
            "postgresql://user:password@host:5432/name"
        ) from error
    name = parsed.drivername.split("+")[0]
    if name not in _DRIVERS:
        raise InvalidDatabaseUrl(
            f"a database of kind {name!r} is not supported; use sqlite:///<path> or postgresql://..."
        )
    return parsed.set(drivername=_DRIVERS[name])


def _is_in_memory(url: URL) -> bool:
    return url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "postgresql":
        return create_engine(url, pool_pre_ping=True)
    options: dict[str, Any] = {"connect_args": {"timeout": _BUSY_SECONDS}}
    if _is_in_memory(url):
        options["poolclass"] = StaticPool
        options["connect_args"]["check_same_thread"] = False
    else:
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, **options)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself: `_begin_sqlite` does
    _switch_to_wal(connection)
    for setting in ("synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {setting}").close()


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    # SQLite's busy timeout does not cover this: two that open a new file at once would clash.
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get("pareconv_read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
