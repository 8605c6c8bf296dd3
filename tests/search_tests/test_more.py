"""More of a job that has succeeded: one student more, or a search that goes on."""

import pytest

from pareconv.models.plan import Plan
from pareconv.search.errors import TaskFailed
from pareconv.storage.job_states import JobStatus, Stage
from pareconv.storage.jobs import JobStore


def succeeded(home, **changes):
    """A job that has; the executor it ran on."""
    home.submit(**changes)
    worker, executor = home.worker()
    worker.work_once()
    assert home.job.status is JobStatus.SUCCEEDED
    return executor


def work(home, **script):
    worker, executor = home.worker(**script)
    assert worker.work_once()
    return executor


def want(home, number, **how):
    assert home.stores.candidates.want(home.id, number, how)


def finalists(home):
    return {each.number for each in home.stores.candidates.finalists(home.id)}


def messages(home, type):
    return [event.message for event in home.events if event.type == type]


def other(home):
    """A trial that is no finalist, on the front or not."""
    return next(each.number for each in home.candidates if not each.finalist)


def test_a_student_that_is_asked_for_is_finished_alone_and_tested_once(home):
    succeeded(home)
    before, number = home.candidates, other(home)
    want(home, number)
    executor = work(home)
    assert executor.finished == [before[number].plan]
    assert executor.tried == executor.built == []
    found = home.candidates[number]
    assert (found.finalist, found.wanted) == (True, None)
    assert found.test_accuracy == home.accuracy_of(found.plan)
    assert number in {each.number for each in home.stores.artifacts.of_job(home.id)}
    assert [each for each in home.candidates if each.number != number] == [
        each for each in before if each.number != number
    ]
    assert (home.job.status, home.job.progress) == (JobStatus.SUCCEEDED, 1.0)


def test_a_student_needs_no_library_any_more(home):
    succeeded(home)
    home.stores.libraries.delete(home.job.library_id)
    want(home, other(home))
    assert work(home).built == []
    assert home.job.status is JobStatus.SUCCEEDED


def test_what_is_asked_of_a_student_reaches_its_finish(home):
    succeeded(home)
    want(home, other(home), epochs=3.0, formats=["onnx"])
    payloads = []
    worker, executor = home.worker()
    finish = executor.finish
    executor.finish = lambda payload, *rest: payloads.append(payload) or finish(payload, *rest)
    worker.work_once()
    assert [payload["asked"] for payload in payloads] == [{"epochs": 3.0, "formats": ["onnx"]}]


def test_a_student_asked_for_during_the_search_is_finished_along_with_the_finalists(home):
    home.submit(search={"trials": 6, "repeats": 0})

    def on_trial(*_):
        if len(executor.tried) == 4:
            for number in (0, 1, 2):
                want(home, number)

    worker, executor = home.worker(on_trial=on_trial)
    worker.work_once()
    assert home.job.status is JobStatus.SUCCEEDED
    assert finalists(home) >= {0, 1, 2}
    assert len(executor.finished) == len(finalists(home)) >= 3


def test_a_student_asked_for_during_the_finish_is_finished_too(home):
    home.submit()
    worker, executor = home.worker()
    executor.on_finish = lambda *_: len(executor.finished) == 2 and want(home, other(home))
    worker.work_once()
    assert home.job.status is JobStatus.SUCCEEDED
    assert len(finalists(home)) == len(executor.finished) == 3


def test_a_student_asked_for_at_the_last_moment_is_finished_by_the_next_worker(home, monkeypatch):
    home.submit()
    succeed = JobStore.succeed

    def late(store, *args, **named):
        monkeypatch.setattr(JobStore, "succeed", succeed)
        want(home, other(home))
        return store.succeed(*args, **named)

    monkeypatch.setattr(JobStore, "succeed", late)
    work(home)
    assert (home.job.status, home.job.lease_owner) == (JobStatus.RUNNING, None)
    assert messages(home, "succeeded") == []
    executor = work(home)
    assert len(executor.finished) == 1
    assert executor.tried == []
    assert home.job.status is JobStatus.SUCCEEDED


def test_a_student_that_cannot_be_finished_is_reported_and_may_be_asked_for_again(home):
    succeeded(home)
    number = other(home)
    want(home, number)

    def fails(plan):
        raise TaskFailed("no memory")

    work(home, on_finish=fails)
    assert home.job.status is JobStatus.SUCCEEDED
    assert messages(home, "finish_failed") == [f"trial {number} could not be finished: no memory"]
    assert (home.candidates[number].finalist, home.candidates[number].wanted) == (False, None)
    want(home, number)
    work(home)
    assert home.candidates[number].finalist


def test_a_student_outlives_the_worker_that_was_to_finish_it(home):
    succeeded(home)
    number = other(home)
    want(home, number)
    worker, executor = home.worker()
    executor.on_finish = lambda *_: worker._ending.set() or worker_stops()

    def worker_stops():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        worker.work_once()
    home.stores.jobs.release(home.id, worker.owner)
    work(home)
    assert home.candidates[number].finalist


def extend(home, trials, **more):
    return home.stores.jobs.extend(home.id, trials=trials, **more)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_search_goes_on_from_its_candidates(sampler, home):
    succeeded(home, search={"trials": 6, "repeats": 0, "sampler": sampler})
    before, tested = home.candidates, finalists(home)
    extend(home, 5)
    executor = work(home)
    assert home.job.status is JobStatus.SUCCEEDED
    assert len(executor.tried) == 5
    assert executor.built == []
    assert len(set(home.plans())) == len(home.candidates) == 11
    assert [each.accuracy for each in home.candidates[:6]] == [each.accuracy for each in before]
    best = sorted(home.stores.candidates.front(home.id), key=lambda each: -each.accuracy)[:2]
    assert finalists(home) == tested | {each.number for each in best}
    # Who was finished before is not finished, and so not tested, again.
    assert len(executor.finished) == len(finalists(home) - tested)


def test_an_extension_goes_through_the_stages_that_it_needs(home):
    succeeded(home)
    extend(home, 2)
    worker, _ = home.worker()
    seen, update_job = [], worker._stores.jobs.update

    def watch(id, **values):
        seen.append((values.get("stage"), values.get("progress")))
        return update_job(id, **values)

    worker._stores.jobs.update = watch
    worker.work_once()
    progress = [done for _, done in seen if done is not None]
    assert progress == sorted(progress)
    assert list(dict.fromkeys(stage for stage, _ in seen if stage)) == [
        Stage.LIBRARY,
        Stage.SEARCH,
        Stage.FINISH,
    ]


CONSTANT = {"accuracy": 0.5, "accuracy_stderr": 0.001}


def stood_still(home):
    home.submit(budget={"flops": 1000}, search={"trials": 40, "repeats": 0, "patience": 3})
    work(home, measured=lambda _: CONSTANT)
    assert len(home.candidates) < 40


def test_an_extension_has_new_patience(home):
    stood_still(home)
    before = len(home.candidates)
    extend(home, 20)
    executor = work(home, measured=lambda _: CONSTANT)
    assert len(executor.tried) >= 3
    newest = max(each.number for each in home.stores.candidates.front(home.id))
    assert len(home.candidates) == max(newest + 1, before) + 3


def test_an_extension_counts_its_own_trials_whatever_was_left_of_the_first(home):
    stood_still(home)
    extend(home, 2)
    assert len(work(home, measured=lambda _: CONSTANT).tried) == 2


def test_an_extension_is_searched_though_the_front_was_evaluated_again_before(home):
    noisy = {"accuracy_stderr": 0.03}
    home.submit(search={"trials": 6, "repeats": 1})
    work(home, measured=lambda _: noisy)
    again = [each.number for each in home.candidates if each.evaluations > 1]
    assert again
    extend(home, 4)
    executor = work(home, measured=lambda _: noisy)
    assert len(home.candidates) == 10
    # Then contested members of the front are evaluated again, as before.
    contested = [plan for plan in executor.tried if executor.tried.count(plan) > 1]
    old = [home.candidates[number].plan for number in again]
    assert all(each.evaluations <= 2 for each in home.candidates)
    assert not any(plan in old for plan in contested)


def test_an_extension_has_its_own_time(home):
    limited = {"trials": 8, "repeats": 0, "time_limit_s": 1000}
    home.submit(search=limited)
    work(home, measured=lambda _: {"seconds": 400})
    assert len(home.candidates) == 3
    extend(home, 6, time_limit_s=700)
    work(home, measured=lambda _: {"seconds": 400})
    assert len(home.candidates) == 5
    extend(home, 4)
    work(home, measured=lambda _: {"seconds": 400})
    assert len(home.candidates) == 9


def test_an_extension_that_was_interrupted_goes_on_as_it_would_have_gone(home, new_home):
    succeeded(home)
    extend(home, 6)
    work(home)
    broken = new_home()
    succeeded(broken)
    extend(broken, 6)
    worker, executor = broken.worker()
    executor.on_trial = lambda *_: len(executor.tried) == 3 and worker._ending.set()
    worker.work_once()
    assert broken.job.status is JobStatus.RUNNING
    work(broken)
    assert broken.job.status is JobStatus.SUCCEEDED
    assert broken.plans() == home.plans()


def test_a_search_is_extended_until_no_plan_is_left(home):
    """32 of the 64 plans are within the budget, or fewer; the empty one is none."""
    succeeded(home)
    for _ in range(2):
        extend(home, 100)
        work(home)
        assert home.job.status is JobStatus.SUCCEEDED
    assert len(messages(home, "exhausted")) + len(messages(home, "settled")) == 2
    plans = [Plan.from_json(each.plan) for each in home.candidates]
    assert len(set(plans)) == len(plans)
