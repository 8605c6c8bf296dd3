"""The least costly student within an accuracy drop: how it is searched, decided and finished."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pareconv.models.plan import Plan
from pareconv.search.accuracy_drop import AccuracyDrop
from pareconv.storage.candidates import Candidate, CandidateState
from pareconv.storage.job_states import JobStatus

DROP = AccuracyDrop(1.0, 0.89, "flops")
BLANK = Candidate(
    job_id="j", number=0, state=CandidateState.COMPLETE, plan={}, flops=0, adds=0, params=0,
    accuracy=0.0, accuracy_stderr=0.01, loss=0.1, seconds=1.0, images=1, compute=1.0,
    predicted=None, rungs=[], evaluations=1, reason=None, retry_of=None, checkpoint="c",
    finalist=False, finish_accuracy=None, test_accuracy=None, finish_compute=None, wanted=None,
    latency_ms=None, latencies=[],
    created_at=datetime.now(UTC), finished_at=None,
)  # fmt: skip


def front_of(*accuracies):
    """Cheapest first, each a hundred FLOPs dearer than the one before."""
    return [
        replace(BLANK, number=place, flops=100 * (place + 1), accuracy=accuracy)
        for place, accuracy in enumerate(accuracies)
    ]


def finished(front, gains):
    """The numbers in the order in which they are finished, when each gains so much by it."""
    order, line = [], list(front)
    while (chosen := DROP.next(line)) is not None:
        order.append(chosen.number)
        accuracy = chosen.accuracy + gains[chosen.number]
        line[chosen.number] = replace(chosen, finalist=True, finish_accuracy=accuracy)
    return order, line


def test_without_a_drop_or_a_teacher_there_is_none():
    assert AccuracyDrop.of(None, 0.9, "flops") is None
    assert AccuracyDrop.of(1.0, None, "flops") is None
    assert AccuracyDrop.of(1.0, 0.9, "flops") == DROP


@pytest.mark.parametrize("boundary", range(9))
def test_finishing_by_halves_finds_the_cheapest_that_ends_within(boundary):
    """Seven of nine are not within it at first; from `boundary` on all end there."""
    front = front_of(0.80, 0.81, 0.82, 0.83, 0.84, 0.85, 0.86, 0.89, 0.90)
    gains = [0.1 if place >= boundary else 0.0 for place in range(9)]
    order, line = finished(front, gains)
    assert order[0] == 7
    assert len(order) <= 4
    assert DROP.answer(line).number == min(boundary, 7)


def test_where_nobody_is_within_the_most_accurate_is_finished_first():
    front = front_of(0.80, 0.82, 0.84)
    assert finished(front, [0.0, 0.0, 0.0])[0] == [2]
    order, line = finished(front, [0.1, 0.1, 0.1])
    assert order == [2, 0]
    assert DROP.answer(line).number == 0


def test_who_could_not_be_finished_is_passed_over():
    front = front_of(0.80, 0.89, 0.90)
    assert DROP.next(front, {1}).number == 2
    assert DROP.next(front, {0, 1, 2}) is None
    assert DROP.next([]) is None


def test_the_answer_is_decided_by_what_was_finished_and_by_no_test():
    front = front_of(0.95, 0.80, 0.80)
    worse = replace(front[0], finalist=True, finish_accuracy=0.85, test_accuracy=0.95)
    better = replace(front[2], finalist=True, finish_accuracy=0.89, test_accuracy=0.10)
    assert DROP.answer([worse, front[1]]) is None
    assert DROP.answer([worse, front[1], better]) == better


def test_a_plan_is_worth_a_trial_below_the_cost_of_who_is_known_to_be_within():
    front = front_of(0.80, 0.89, 0.90)
    assert DROP.limit(front[:1]) is None
    assert DROP.limit(front) == 0.99 * 200
    stopped = replace(front[0], state=CandidateState.STOPPED, accuracy=0.95)
    assert DROP.limit([stopped]) is None
    cheaper = replace(front[0], finalist=True, finish_accuracy=0.90)
    dearer = replace(front[1], finalist=True, finish_accuracy=0.88)
    assert DROP.limit([cheaper, *front[1:]]) == 0.99 * 100
    assert DROP.limit([front[0], dearer, front[2]]) == 0.99 * 300


# The teacher of the scripted table has 0.9; three times `ghost`, at 400 FLOPs, lose 0.03.
BUDGET = {"accuracy_drop": 3.0}
SEARCH = {"trials": 24, "repeats": 0}
ALL_GHOST = Plan.from_json({"a": "ghost", "b": "ghost", "c": "ghost"})


def work(home, gain=0.0, **changes):
    """A job whose finish takes away the share `gain` of what a student lacks."""
    home.submit(**{"budget": BUDGET, "search": SEARCH} | changes)
    return go_on(home, gain)


def go_on(home, gain=0.0):
    worker, executor = home.worker()
    finish = executor.finish

    def gaining(payload, *rest):
        lacks = 0.9 - home.accuracy_of(payload["plan"])
        return finish(payload, *rest) | {"finish_accuracy": 0.9 - (1 - gain) * lacks}

    executor.finish = gaining
    worker.work_once()
    assert home.job.error is None
    assert home.job.status is JobStatus.SUCCEEDED
    return executor


def answer(home):
    (event,) = [event for event in home.events if event.type == "answer"][-1:]
    number = event.data["trial"]
    return event, None if number is None else home.candidates[number]


@pytest.mark.parametrize(
    "changes", [{}, {"library": None}, {"search": SEARCH | {"sampler": "random", "trials": 40}}]
)
def test_the_least_costly_within_the_drop_is_found_and_finished(changes, home):
    work(home, **changes)
    event, found = answer(home)
    assert Plan.from_json(found.plan) == ALL_GHOST
    assert event.level == "info"
    assert f"trial {found.number} is the least costly" in event.message
    assert event.data["least_accuracy"] == pytest.approx(0.87)


def test_once_one_is_within_only_cheaper_plans_are_tried(home):
    work(home)
    least = None
    for each in home.candidates:
        assert least is None or each.flops <= 0.99 * least
        if each.accuracy >= 0.87 - 1e-9:
            least = each.flops
    assert least == 400


def test_what_finishing_gains_is_used(home):
    """Half of what they lack: 360 FLOPs with 0.84 end at 0.87, where 400 were within before."""
    executor = work(home, gain=0.5, finish={"finalists": 3})
    _, found = answer(home)
    assert (found.flops, found.accuracy) == (360, pytest.approx(0.84))
    assert len(executor.finished) <= 3
    assert Plan.from_json(executor.finished[0]) == ALL_GHOST


def test_no_more_are_finished_than_there_may_be_finalists(home):
    executor = work(home, gain=0.5, finish={"finalists": 1})
    assert [Plan.from_json(plan) for plan in executor.finished] == [ALL_GHOST]
    assert Plan.from_json(answer(home)[1].plan) == ALL_GHOST


def test_where_nobody_is_within_the_job_says_so_and_succeeds(home):
    work(home, budget={"accuracy_drop": 0.5})
    event, found = answer(home)
    assert found is None
    assert event.level == "warning"
    assert "no finished student is within the accuracy drop of 0.5" in event.message
    assert "allow a larger budget.accuracy_drop" in event.message
    assert home.stores.candidates.finalists(home.id)


def test_another_budget_holds_as_well(home):
    work(home, budget=BUDGET | {"params": 600})
    _, found = answer(home)
    assert all(each.params <= 600 for each in home.candidates)
    # Two of `shift` and more save the parameters, which three of `ghost` do not.
    assert found is None or found.params <= 600
    within = [each for each in home.candidates if each.accuracy >= 0.87 - 1e-9]
    assert (found is None) == (not within)


def test_the_cost_that_counts_is_the_objective(home):
    work(home, search=SEARCH | {"objectives": ["accuracy", "params"]}, budget={"accuracy_drop": 4})
    _, found = answer(home)
    least = min(each.params for each in home.candidates if each.accuracy >= 0.86 - 1e-9)
    assert found.params == least == 900 - 360  # twice `shift`


def test_an_extension_goes_on_below_the_answer_with_finalists_of_its_own(home):
    work(home, gain=0.5, search=SEARCH | {"trials": 1}, finish={"finalists": 2})
    _, first = answer(home)
    assert home.candidates == [first]
    home.stores.jobs.extend(home.id, trials=12)
    executor = go_on(home, gain=0.5)
    _, found = answer(home)
    assert len(home.candidates) > 1
    assert all(each.flops < first.flops for each in home.candidates[1:])
    assert first.plan not in executor.finished
    assert len(executor.finished) == 2
    assert (first.flops, found.flops) == (600, 360)


def test_a_search_that_was_interrupted_goes_on_as_it_would_have_gone(home, new_home):
    work(home)
    broken = new_home()
    broken.submit(budget=BUDGET, search=SEARCH)
    worker, executor = broken.worker()
    executor.on_trial = lambda *_: len(executor.tried) == 6 and worker._ending.set()
    worker.work_once()
    assert broken.job.status is JobStatus.RUNNING
    go_on(broken)
    assert broken.plans() == home.plans()


def test_a_finish_that_was_interrupted_finishes_no_more_than_it_would_have(home):
    home.submit(budget=BUDGET, search=SEARCH, finish={"finalists": 2})
    worker, executor = home.worker()
    executor.on_finish = lambda *_: len(executor.finished) == 1 and worker._ending.set()
    worker.work_once()
    assert home.job.status is JobStatus.RUNNING
    go_on(home)
    assert len(home.stores.candidates.finalists(home.id)) <= 2
