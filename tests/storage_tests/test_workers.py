"""Workers: signs of life, and who is forgotten."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from pareconv.storage.statistics import StatisticsStore
from pareconv.storage.tables import WorkerRow
from pareconv.storage.workers import WorkerStore

GPU = {"id": "GPU-1", "name": "H100", "used_bytes": 10, "total_bytes": 80}


@pytest.fixture
def workers(database):
    return WorkerStore(database)


def seen(database):
    return {each.owner: each for each in StatisticsStore(database).read().workers}


def grow_old(database, owner, **age):
    with database.session() as session:
        earlier = database.now(session) - timedelta(**age)
        session.execute(update(WorkerRow).where(WorkerRow.owner == owner).values(seen_at=earlier))


def test_a_worker_that_was_seen_is_told_as_it_was_last(database, workers):
    workers.saw("a", host="one")
    last = workers.saw("a", host="one", gpus=[GPU])
    assert seen(database) == {"a": last}
    assert (last.host, last.gpus) == ("one", [GPU])


def test_one_that_left_or_was_not_seen_for_a_minute_is_not_there(database, workers):
    for owner in "abc":
        workers.saw(owner, host="one")
    workers.left("a")
    grow_old(database, "b", seconds=61)
    assert set(seen(database)) == {"c"}


def test_one_that_was_not_seen_for_an_hour_is_forgotten(database, workers):
    for owner in "ab":
        workers.saw(owner, host="one")
    grow_old(database, "a", minutes=61)
    workers.saw("b", host="one")
    with database.session(read_only=True) as session:
        assert [row.owner for row in session.query(WorkerRow)] == ["b"]
