"""The database: transactions are whole or nothing, times are UTC, trouble has a name."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import StatementError

from pareconv.storage.database import Database
from pareconv.storage.errors import InvalidDatabaseUrl, InvalidValue, Unavailable
from pareconv.storage.tables import DatasetRow


def dataset(**values):
    row = {"name": "digits", "filename": "d.zip", "sha256": "0" * 64, "size_bytes": 1}
    return DatasetRow(**row | {"summary": {}, "created_at": datetime.now(UTC)} | values)


def count(database):
    with database.session(read_only=True) as session:
        return session.scalar(select(func.count()).select_from(DatasetRow))


def test_a_session_commits(database):
    with database.session() as session:
        session.add(dataset())
    assert count(database) == 1


def test_a_session_rolls_back_on_error(database):
    def write_then_fail():
        with database.session() as session:
            session.add(dataset())
            session.flush()
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write_then_fail()
    assert count(database) == 0


def test_sessions_of_many_threads_do_not_mix(database):
    def write(number):
        for step in range(10):
            with database.session() as session:
                session.add(dataset(sha256=f"{number}-{step}"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(database) == 40


def test_an_aware_time_comes_back_as_the_same_moment_in_utc(database):
    moment = datetime(2026, 7, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    with database.session() as session:
        session.add(dataset(created_at=moment))
    with database.session(read_only=True) as session:
        found = session.scalars(select(DatasetRow)).one().created_at
    assert found == moment
    assert found.tzinfo is UTC


def test_a_naive_time_is_refused(database):
    with pytest.raises(StatementError, match="no time zone"), database.session() as session:
        session.add(dataset(created_at=datetime(2026, 7, 1)))


def test_the_clock_is_utc_and_moves(database):
    with database.session(read_only=True) as session:
        first, second = database.now(session), database.now(session)
    assert first.tzinfo is UTC
    assert abs(first - datetime.now(UTC)) < timedelta(minutes=1)
    assert second > first


def test_check_passes_on_a_living_database(database):
    database.check()


def test_what_the_database_cannot_hold_is_named(database):
    with pytest.raises(InvalidValue, match="cannot hold"), database.session() as session:
        session.add(dataset(size_bytes=2**70))
    assert count(database) == 0


def test_a_server_that_is_not_there_is_unavailable():
    database = Database("postgresql://nobody:hidden@127.0.0.1:9/none")
    with pytest.raises(Unavailable) as error:
        database.check()
    assert "hidden" not in str(error.value)
    database.close()


def test_a_sqlite_file_is_set_up_for_several_processes(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/new folder/pareconv.db")
    with database.session(read_only=True) as session:
        settings = [
            session.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    database.close()
    assert settings == ["wal", 1, 1, 30_000]


def test_a_sqlite_writer_waits_its_turn_and_a_reader_does_not(tmp_path):
    first, second = (Database(f"sqlite:///{tmp_path}/pareconv.db") for _ in range(2))
    first.migrate()
    seen = []
    with first.session() as session:
        session.add(dataset())
        session.flush()
        seen.append(count(second))
        writer = threading.Thread(target=lambda: _write(second, seen))
        writer.start()
        writer.join(timeout=0.2)
        assert writer.is_alive()
    writer.join()
    assert seen == [0, 1]
    first.close()
    second.close()


def _write(database, seen):
    with database.session() as session:
        seen.append(session.scalar(select(func.count()).select_from(DatasetRow)))


def test_many_may_open_a_new_sqlite_file_at_once(tmp_path):
    def open_new(url, gate):
        database = Database(url)
        gate.wait()
        database.check()
        database.close()

    with ThreadPoolExecutor(8) as pool:
        for attempt in range(60):
            gate = threading.Barrier(8)
            url = f"sqlite:///{tmp_path}/{attempt}.db"
            list(pool.map(open_new, [url] * 8, [gate] * 8))


@pytest.mark.parametrize("url", ["mysql://host/db", "no url at all", "mysql://me:hidden@host/db"])
def test_an_unusable_url_is_refused_without_repeating_it(url):
    with pytest.raises(InvalidDatabaseUrl, match="postgresql://") as error:
        Database(url)
    assert "hidden" not in str(error.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_postgresql_is_reached_by_psycopg_3(scheme):
    database = Database(f"{scheme}://me:secret@host/db")
    assert database.url == "postgresql+psycopg://me:secret@host/db"
