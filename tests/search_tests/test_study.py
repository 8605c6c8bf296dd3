import time
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from pareconv.models.plan import KEEP, Option, Plan
from pareconv.search.errors import Diverged, TaskDied
from pareconv.search.rungs import Rung, beaten
from pareconv.search.solver import Solver
from pareconv.storage.candidates import CandidateState
from pareconv.storage.job_states import JobStatus

SCORES = {"ghost": 0.01, "shift": 0.02, "svd": 0.04}  # as the scripted library has them
SPEC = {"trials": 8, "repeats": 0}


def work(home, **changes):
    """A job to its success; the executor it ran on."""
    script = changes.pop("script", {})
    home.submit(**changes)
    worker, executor = home.worker(**script)
    worker.work_once()
    assert home.job.error is None
    assert home.job.status is JobStatus.SUCCEEDED
    return executor


def events(home, type):
    return [event for event in home.events if event.type == type]


def looked_at(home, stop_early=True, stderr=0.002):
    """Answers a trial as one that is looked at three times does."""

    def measured(payload):
        accuracy = home.accuracy_of(payload["plan"])
        bar = [Rung.from_json(rung) for rung in payload["bar"]]
        rungs = []
        for images, loss in ((25, 0.1), (50, 0.05), (100, 0.0)):
            rungs.append(Rung(images, accuracy - loss, stderr))
            reason = beaten(rungs, bar) if stop_early and images < 100 else None
            if reason:
                break
        return {
            "accuracy": rungs[-1].accuracy,
            "accuracy_stderr": stderr,
            "images": rungs[-1].images,
            "rungs": [{"images": r.images, "accuracy": r.accuracy, "stderr": r.stderr}
                      for r in rungs],
            "reason": reason,
            "checkpoint": None if reason else "0" * 64,
        }  # fmt: skip

    return measured


def front_of(home):
    return [(each.plan, each.accuracy) for each in home.stores.candidates.front(home.id)]


def test_the_first_candidates_are_the_solvers_with_their_predictions(home):
    executor = work(home, search=SPEC, budget={"flops": 700})
    scores = {
        block: {option: SCORES[option.operator] for option in changes if option != KEEP}
        for block, changes in home.table.changes.items()
    }
    best = Solver(home.table, scores).best({"flops": 700})
    first = home.candidates[0]
    assert first.predicted == pytest.approx(best.score)
    for each in home.candidates:
        plan = Plan.from_json(each.plan)
        assert each.predicted == pytest.approx(sum(SCORES[o.operator] for o in plan.values()))
        assert each.predicted >= first.predicted or each.flops < first.flops
    assert len(executor.tried) == 8


def test_candidates_start_from_the_library(home):
    payloads = []
    work(home, search=SPEC, script={"measured": lambda payload: payloads.append(payload) or {}})
    for payload in payloads:
        assert set(payload["library"]) == set(payload["plan"])


def test_without_a_library_there_are_no_predictions(home):
    payloads = []
    executor = work(
        home,
        search=SPEC,
        library=None,
        script={"measured": lambda payload: payloads.append(payload) or {}},
    )
    assert executor.built == []
    assert home.job.library_id is None
    assert {each.predicted for each in home.candidates} == {None}
    assert {payload["library"] for payload in payloads} == {None}


def test_the_random_sampler_takes_no_plan_of_the_solver(home, new_home):
    def plans(home, seed, sampler, **changes):
        work(home, search=SPEC | {"sampler": sampler, "trials": 4}, seed=seed, **changes)
        return home.plans()

    by_solver = plans(home, 0, "tpe")
    assert plans(new_home(), 1, "tpe")[0] == by_solver[0]
    random = plans(home, 0, "random")
    assert random != by_solver
    # What the library says does not matter to it.
    assert plans(new_home(), 0, "random", library=None) == random


def test_what_a_candidate_cost_is_remembered(home):
    work(home, search=SPEC)
    assert {each.compute for each in home.candidates} == {300.0}
    finalists = [each for each in home.candidates if each.finalist]
    assert [each.finish_compute for each in finalists] == [5000.0, 5000.0]


def test_a_beaten_trial_is_stopped_with_the_reason_and_is_in_no_front(home):
    work(home, search=SPEC, script={"measured": looked_at(home)})
    stopped = [each for each in home.candidates if each.state is CandidateState.STOPPED]
    assert stopped
    for each in stopped:
        assert each.reason.startswith("beaten after")
        assert each.checkpoint is None
        assert each.images < 100
        assert len(each.rungs) in (1, 2)
        assert each.accuracy == each.rungs[-1]["accuracy"]
        assert not each.finalist
        rivals = [
            other
            for other in home.candidates[: each.number]
            if other.flops + other.adds <= each.flops + each.adds
        ]
        assert max(home.accuracy_of(r.plan) for r in rivals) > home.accuracy_of(each.plan)
    front = {each.number for each in home.stores.candidates.front(home.id)}
    assert front
    assert not front & {each.number for each in stopped}
    told = [event.message for event in events(home, "trial") if "beaten" in event.message]
    assert len(told) == len(stopped)


def test_stopping_early_changes_no_front(home, new_home):
    """Of these trials: a longer search would propose other plans after a stopped one."""
    work(home, search=SPEC, script={"measured": looked_at(home)})
    patient = new_home()
    work(patient, search=SPEC, script={"measured": looked_at(patient, stop_early=False)})
    assert [each.plan for each in home.candidates] == [each.plan for each in patient.candidates]
    assert {each.state for each in patient.candidates} == {CandidateState.COMPLETE}
    assert front_of(home) == front_of(patient)


def test_within_the_noise_nothing_is_stopped(home):
    work(home, search=SPEC, script={"measured": looked_at(home, stderr=0.2)})
    assert {each.state for each in home.candidates} == {CandidateState.COMPLETE}


def test_the_bar_of_a_trial_is_of_those_that_cost_no_more(home):
    bars = []

    def measured(payload):
        bars.append(payload["bar"])
        return looked_at(home, stop_early=False)(payload)

    work(home, search=SPEC, script={"measured": measured})
    assert bars[0] == []
    for each, bar in zip(home.candidates, bars, strict=True):
        rivals = [
            home.accuracy_of(other.plan)
            for other in home.candidates[: each.number]
            if other.flops + other.adds <= each.flops + each.adds
        ]
        assert [rung["accuracy"] for rung in bar] == (
            pytest.approx([max(rivals) - 0.1, max(rivals) - 0.05, max(rivals)]) if rivals else []
        )


def attempts(home, stderr, second):
    """The first accuracy is that of the formula, each further one `second` of it; asked plans and
    attempts are noted.
    """
    asked = []

    def measured(payload):
        asked.append((Plan.from_json(payload["plan"]), payload["attempt"]))
        accuracy = home.accuracy_of(payload["plan"])
        again = second(accuracy) if payload["attempt"] else accuracy
        return {"accuracy": again, "accuracy_stderr": stderr}

    return asked, measured


def test_contested_members_of_the_front_are_evaluated_again_and_averaged(home):
    asked, measured = attempts(home, 0.03, lambda accuracy: accuracy - 0.004)
    work(home, search=SPEC | {"repeats": 1}, script={"measured": measured})
    again = [plan for plan, attempt in asked if attempt]
    assert len(again) > 1
    assert len(set(again)) == len(again)
    assert len(asked) == 8 + len(again)
    for each in home.candidates:
        plan = Plan.from_json(each.plan)
        single = home.accuracy_of(each.plan)
        if plan in again:
            assert each.evaluations == 2
            assert each.accuracy == pytest.approx(single - 0.002)
            assert each.compute == 600.0
        else:
            assert each.evaluations == 1
            assert each.accuracy == single
    assert len(events(home, "reevaluated")) == len(again)


def test_no_trial_begins_once_the_time_is_used_up(home):
    work(
        home, search=SPEC | {"time_limit_s": 1000}, script={"measured": lambda _: {"seconds": 400}}
    )
    assert [each.seconds for each in home.candidates] == [400, 400, 400]


def test_further_evaluations_count_towards_the_time(home):
    _, measured = attempts(home, 0.03, lambda accuracy: accuracy - 0.004)

    def slow(payload):
        return measured(payload) | {"seconds": 100}

    # Eight trials leave time for two more evaluations.
    work(home, search=SPEC | {"repeats": 5, "time_limit_s": 1000}, script={"measured": slow})
    assert len(home.candidates) == 8
    assert sum(each.evaluations for each in home.candidates) == 10
    assert sum(each.seconds for each in home.candidates) == 1000


def test_more_repeats_average_more(home):
    asked, measured = attempts(home, 0.03, lambda accuracy: accuracy + 0.006)
    work(home, search=SPEC | {"repeats": 3}, script={"measured": measured})
    most = max(each.evaluations for each in home.candidates)
    assert most == 4
    for each in home.candidates:
        gain = 0.006 * (each.evaluations - 1) / each.evaluations
        assert each.accuracy == pytest.approx(home.accuracy_of(each.plan) + gain)
    numbers = [attempt for plan, attempt in asked if plan == asked[0][0]]
    assert numbers == list(range(len(numbers)))


@pytest.mark.parametrize(("repeats", "stderr"), [(0, 0.03), (1, 1e-4)])
def test_what_is_beyond_doubt_or_not_asked_for_is_evaluated_once(repeats, stderr, home):
    asked, measured = attempts(home, stderr, lambda accuracy: accuracy)
    work(home, search=SPEC | {"repeats": repeats}, script={"measured": measured})
    assert {attempt for _, attempt in asked} == {0}
    assert {each.evaluations for each in home.candidates} == {1}


@pytest.mark.parametrize("error", [Diverged("nan"), TaskDied("killed by SIGKILL")])
def test_an_evaluation_that_fails_the_second_time_keeps_what_the_first_one_gave(error, home):
    def measured(payload):
        if payload["attempt"]:
            raise error
        return {"accuracy_stderr": 0.03}

    executor = work(home, search=SPEC | {"repeats": 2}, script={"measured": measured})
    assert len(home.plans()) == 8
    assert all(each.accuracy == home.accuracy_of(each.plan) for each in home.candidates)
    assert len(executor.finished) == 2


def test_when_the_front_stands_still_the_search_ends_and_says_so(home):
    """Every plan after the first gives the same, and costs more or is less accurate."""
    constant = {"accuracy": 0.5, "accuracy_stderr": 0.001}
    executor = work(
        home,
        budget={"flops": 1000},
        search={"trials": 40, "repeats": 0, "patience": 3},
        script={"measured": lambda _: constant},
    )
    newest = max(each.number for each in home.stores.candidates.front(home.id))
    assert len(home.candidates) == newest + 1 + 3 < 40
    assert len(executor.tried) == len(home.candidates)
    (event,) = events(home, "settled")
    assert "3 plans" in event.message


def test_without_patience_all_trials_are_made(home):
    work(
        home,
        budget={"flops": 1000},
        search={"trials": 20, "repeats": 0, "patience": None},
        script={"measured": lambda _: {"accuracy": 0.5, "accuracy_stderr": 0.001}},
    )
    assert len(home.candidates) == 20
    assert events(home, "settled") == []


def test_a_second_job_on_the_library_finds_the_same_as_the_first(home):
    work(home, search=SPEC)
    first = [(each.plan, each.predicted, each.accuracy) for each in home.candidates]
    executor = work(home, search=SPEC)
    assert executor.built == []
    assert [(each.plan, each.predicted, each.accuracy) for each in home.candidates] == first


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_an_option_that_the_library_gave_up_is_in_no_plan(sampler, home):
    """It has no score: no plan would take it."""

    class Without(type(home.worker()[1])):
        def library(self, payload, on_event, poll):
            def edited(event):
                for entry in event.get("entries", ()):
                    if entry["option"] == "ghost":
                        entry |= {"score": None, "settled": True}
                on_event(event)

            return super().library(payload, edited, poll)

    home.submit(search=SPEC | {"trials": 8, "sampler": sampler})
    worker, _ = home.worker()
    worker._executor = Without(home.table)
    worker.work_once()
    assert home.job.status is JobStatus.SUCCEEDED
    assert len(home.candidates) == 8
    for each in home.candidates:
        assert Option.of("ghost") not in Plan.from_json(each.plan).values()
        assert each.predicted is not None


def test_how_long_the_job_takes_is_told_from_the_first_complete_trial_on(home):
    seen = []
    work(home, search=SPEC, script={"on_trial": lambda *_: seen.append(home.job)})
    assert (seen[0].stage_eta, seen[0].eta) == (None, None)
    assert seen[1].stage_eta < seen[1].eta  # the finish comes later


def test_what_is_to_be_evaluated_again_counts_in_how_long_the_job_takes(home):
    left = []

    def measured(payload):
        if payload["attempt"]:
            left.append((home.job.eta - datetime.now(UTC)).total_seconds())
        return {"accuracy_stderr": 0.03, "seconds": 100}

    work(home, search=SPEC | {"repeats": 1}, script={"measured": measured})
    assert len(left) > 1
    steps = [before - after for before, after in pairwise(left)]
    assert steps == pytest.approx([100] * len(steps), abs=2)


def test_a_stop_is_no_failure_of_the_trial_that_ran(home):
    home.submit(search=SPEC)

    def on_trial(_plan, poll):
        home.stores.jobs.pause(home.id)
        while True:
            poll()
            time.sleep(0.05)  # as the executor asks while a child is at work

    worker, _ = home.worker(on_trial=on_trial)
    worker.work_once()
    assert home.job.status is JobStatus.PAUSED
    assert events(home, "trial_failed") == []
    (told,) = events(home, "trial_interrupted")
    assert (told.level, told.message) == ("info", "trial 0 was interrupted: the job was paused")
