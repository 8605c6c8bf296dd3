"""What a history counts along agrees with what the store finds by looking at everything."""

import random
from dataclasses import replace

import pytest

from pareconv.models.plan import Option, Plan
from pareconv.search.history import DIED, STOPPED, History
from pareconv.search.stretch import Stretch
from pareconv.storage.candidates import CandidateState, CandidateStore
from pareconv.storage.database import Database
from pareconv.storage.jobs import JobStore

OPTIONS = (Option.of("ghost"), Option.of("shift"), Option.of("svd", ratio=0.25))
ACCURACIES = (0.5, 0.6, 0.7)  # few, so that there are ties


@pytest.fixture
def store(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")
    database.migrate()
    store = CandidateStore(database)
    store.job = JobStore(database).create({})[0].id
    yield store
    database.close()


def anything(chance):
    return Plan({block: chance.choice(OPTIONS) for block in "abc" if chance.random() < 0.7})


def tried(store, history, table, chance):
    """Add a running candidate of any plan."""
    plan = anything(chance)
    added = store.create(store.job, plan.to_json(), **table.cost(plan).to_json())
    history.put(added)
    return added


def ended(store, history, number, chance):
    """Complete a candidate or fail it, as chance has it."""
    if chance.random() < 0.2:
        store.fail(store.job, number, "nan")
    else:
        store.complete(
            store.job,
            number,
            accuracy=chance.choice(ACCURACIES),
            accuracy_stderr=0.01,
            loss=0.5,
            seconds=2.0,
            images=100,
            compute=1.0,
            rungs=[],
            checkpoint=None,
        )
    history.put(store.get(store.job, number))


@pytest.mark.parametrize("seed", range(4))
def test_the_front_is_that_of_the_store_in_whatever_order_candidates_end(seed, store, table):
    chance, history = random.Random(seed), History(Stretch(100, None), "flops")
    for _ in range(30):
        tried(store, history, table, chance)
        while history.running and chance.random() < 0.5:
            ended(store, history, chance.choice(history.running).number, chance)
        assert history.front() == store.front(store.job)
        assert history.running == store.running(store.job)
    assert list(history.candidates) == store.all(store.job)


def test_a_candidate_that_was_evaluated_again_leaves_the_front_where_it_should(store, table):
    chance, history = random.Random(5), History(Stretch(100, None), "flops")
    for number in range(12):
        tried(store, history, table, chance)
        ended(store, history, number, chance)
    worst = {"accuracy": 0.1, "accuracy_stderr": 0.01, "evaluations": 2}
    first = history.front()[0]
    assert not history.is_averaging
    store.reevaluate(store.job, first.number, **worst, compute=1.0, seconds=3.0)
    history.put(store.get(store.job, first.number))
    assert history.front() == store.front(store.job)
    assert history.is_averaging


def test_plans_and_seconds_of_before_do_not_count(store, table):
    history = History(Stretch(10, None, candidates=2, seconds=4.0), "flops")
    plans = [Plan({"a": OPTIONS[0]}), Plan({"b": OPTIONS[0]}), Plan({"a": OPTIONS[0]}), Plan({})]
    for number, plan in enumerate(plans):
        cost = table.cost(plan).to_json()
        added = store.create(store.job, plan.to_json(), **cost)
        done = {"state": CandidateState.COMPLETE, "accuracy": 0.5, "seconds": 2.0}
        history.put(replace(added, **done, finished_at=added.created_at, number=number))
    assert len(history.tried) == 3
    assert (history.new_plans, history.new_ended) == (1, 1)
    assert history.seconds == 4.0


def test_what_was_stopped_is_repeated_always_and_what_died_once(store, table):
    history = History(Stretch(10, None), "flops")
    plan = Plan({"a": OPTIONS[0]})

    def fail(reason, retry_of=None):
        cost = table.cost(plan).to_json()
        number = store.create(store.job, plan.to_json(), retry_of=retry_of, **cost).number
        history.put(store.get(store.job, number))
        store.fail(store.job, number, reason)
        history.put(store.get(store.job, number))
        return history.to_repeat and history.to_repeat.number

    assert fail(f"{STOPPED}cancelled") == 0
    assert fail(f"{STOPPED}cancelled", retry_of=0) == 1
    assert fail(f"{DIED}SIGKILL", retry_of=1) == 2
    assert fail(f"{DIED}SIGKILL", retry_of=2) is None
