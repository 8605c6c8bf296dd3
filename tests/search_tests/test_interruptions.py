"""A job that is cancelled, given back, or taken over goes on where it was, and nothing is lost."""

import threading
import time
import types

import pytest
from sqlalchemy import update

from pareconv.search import claim
from pareconv.search.claim import PauseAsked
from pareconv.search.errors import Diverged
from pareconv.storage.candidates import CandidateState
from pareconv.storage.job_states import JobStatus
from pareconv.storage.tables import JobRow


def endless(plan, poll):
    """What a task that runs for hours is to who waits for it."""
    while True:
        poll()
        time.sleep(0.02)


class Background:
    """A call in a thread; leaving waits for it."""

    def __init__(self, call):
        self._thread = threading.Thread(target=call)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._thread.join(30)
        assert not self._thread.is_alive()


def until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_cancelled_job_ends_within_seconds_and_goes_on_when_resumed(home):
    home.submit()

    def on_trial(plan, poll):
        if len(executor.tried) == 3:
            endless(plan, poll)

    worker, executor = home.worker(on_trial=on_trial)
    with Background(worker.work_once):
        until(lambda: len(executor.tried) == 3)
        home.stores.jobs.cancel(home.id)
        until(lambda: home.job.status is JobStatus.CANCELLED, seconds=5)
    assert home.stores.candidates.running(home.id) == []
    assert home.candidates[2].state is CandidateState.FAILED
    assert "cancelled" in home.candidates[2].reason
    home.stores.jobs.resume(home.id)
    other, resumed = home.worker()
    assert other.work_once() is True
    assert home.job.status is JobStatus.SUCCEEDED
    assert len(set(home.plans())) == len(home.plans()) == 6
    assert resumed.tried[0] == home.candidates[2].plan
    assert len(home.candidates) == 7


def test_a_paused_job_ends_within_seconds_and_loses_nothing(home, new_home):
    home.submit()

    def on_trial(plan, poll):
        if len(executor.tried) == 3:
            endless(plan, poll)

    worker, executor = home.worker(on_trial=on_trial)
    with Background(worker.work_once):
        until(lambda: len(executor.tried) == 3)
        home.stores.jobs.pause(home.id)
        until(lambda: home.job.status is JobStatus.PAUSED, seconds=5)
    assert home.events[-1].type == "paused"
    before = home.candidates
    assert "paused" in before[2].reason
    assert home.worker()[0].work_once() is False  # nobody takes it until it is resumed
    home.stores.jobs.resume(home.id)
    other, resumed = home.worker()
    assert other.work_once() is True
    assert home.job.status is JobStatus.SUCCEEDED
    kept = [(each.plan, each.created_at, each.accuracy) for each in home.candidates[:2]]
    assert kept == [(each.plan, each.created_at, each.accuracy) for each in before[:2]]
    assert resumed.built == []
    assert home.candidates[3].retry_of == 2
    undisturbed = new_home()
    undisturbed.submit()
    undisturbed.worker()[0].work_once()
    assert home.plans() == undisturbed.plans()


def test_a_job_that_is_paused_and_then_cancelled_is_cancelled(home):
    home.submit()

    def on_trial(plan, poll):
        home.stores.jobs.pause(home.id)
        with pytest.raises(PauseAsked) as asked:
            endless(plan, poll)
        home.stores.jobs.cancel(home.id)
        raise asked.value

    worker, _ = home.worker(on_trial=on_trial)
    worker.work_once()
    assert home.job.status is JobStatus.CANCELLED


def test_a_job_past_its_time_limit_fails_and_goes_on_with_as_much_again(home, monkeypatch):
    home.submit(time_limit_s=1000)

    def on_trial(plan, poll):
        if len(executor.tried) == 2:
            later = types.SimpleNamespace(monotonic=lambda: time.monotonic() + 1001)
            monkeypatch.setattr(claim, "time", later)
            endless(plan, poll)

    worker, executor = home.worker(on_trial=on_trial)
    worker.work_once()
    monkeypatch.setattr(claim, "time", time)
    assert home.job.status is JobStatus.FAILED
    assert "longer than its time_limit_s of 1000 s" in home.job.error["detail"]
    assert home.job.error["type"] == "/problems/job-failed"
    assert [each.state for each in home.candidates[:2]] == ["complete", "failed"]
    home.stores.jobs.resume(home.id)
    other, _ = home.worker()
    other.work_once()
    assert home.job.status is JobStatus.SUCCEEDED
    assert home.candidates[2].retry_of == 1


def test_the_time_that_a_job_was_in_hand_before_counts(home):
    home.submit(time_limit_s=1000)
    with home.stores.database.session() as session:
        session.execute(update(JobRow).values(worked_s=1001))
    worker, executor = home.worker()
    worker.work_once()
    assert home.job.status is JobStatus.FAILED
    assert executor.limits == {}  # nothing was begun


def test_a_job_cancelled_in_its_profile_stage_completes_no_candidate(home):
    home.submit()
    worker, _ = home.worker(on_profile=lambda: home.stores.jobs.cancel(home.id), on_trial=endless)
    worker.work_once()
    assert home.job.status is JobStatus.CANCELLED
    assert home.plans() == []


def test_a_worker_that_shuts_down_gives_the_job_back_and_another_ends_it(home):
    home.submit()

    def on_trial(plan, poll):
        if len(executor.tried) == 3:
            endless(plan, poll)

    worker, executor = home.worker(on_trial=on_trial)
    with Background(worker.run):
        until(lambda: len(executor.tried) == 3)
        worker._ending.set()
    assert home.job.status is JobStatus.RUNNING
    assert home.job.lease_owner is None
    assert home.stores.candidates.running(home.id) == []
    other, _ = home.worker()
    assert other.work_once() is True  # at once, without waiting for a lease to run out
    assert home.job.status is JobStatus.SUCCEEDED
    assert len(set(home.plans())) == len(home.plans()) == 6


def test_a_plan_that_is_stopped_again_and_again_is_not_lost(home):
    home.submit(search={"trials": 1})
    for _ in range(3):
        worker, executor = home.worker()
        executor.on_trial = lambda _, poll, worker=worker: stop_in_the_middle(worker, poll)
        worker.work_once()
    home.worker()[0].work_once()
    assert home.job.status is JobStatus.SUCCEEDED
    assert [each.retry_of for each in home.candidates] == [None, 0, 1, 2]
    assert len({str(each.plan) for each in home.candidates}) == 1
    assert len(home.plans()) == 1


def stop_in_the_middle(worker, poll):
    worker._ending.set()
    poll()


def test_the_plans_do_not_depend_on_interruptions(home, new_home):
    home.submit()
    worker, _ = home.worker()
    worker.work_once()

    def on_trial(plan, poll):
        if len(executor.tried) == 4:
            broken._ending.set()
            endless(plan, poll)

    other_home = new_home()
    other_home.submit()
    broken, executor = other_home.worker(on_trial=on_trial)
    broken.work_once()
    going_on, _ = other_home.worker()
    going_on.work_once()
    assert other_home.plans() == home.plans()


def test_a_job_that_an_older_version_profiled_is_profiled_again(home):
    """It kept nothing by which a library is found."""
    home.submit()
    worker, _ = home.worker(on_trial=lambda _, poll: stop_in_the_middle(worker, poll))
    worker.work_once()
    older = {name: each for name, each in home.job.profile.items() if name != "data"}
    with home.stores.database.session() as session:
        session.execute(update(JobRow).values(profile=older))
    home.worker()[0].work_once()
    assert home.job.status is JobStatus.SUCCEEDED
    assert "data" in home.job.profile


@pytest.mark.parametrize("error", [None, Diverged("nan")])
def test_a_worker_that_lost_its_lease_writes_nothing(error, home):
    """Another worker took the job over, and ended it, while this one tried a plan."""
    home.submit()
    left = []

    def on_trial(plan, poll):
        if len(slow.tried) == 2:
            take_over()
            left.append((home.job, home.candidates, home.events))
            if error is not None:
                raise error

    def take_over():
        with home.stores.database.session() as session:
            session.execute(update(JobRow).values(lease_owner=None, lease_expires_at=None))
        assert fast.work_once()

    worker, slow = home.worker(on_trial=on_trial)
    fast, _ = home.worker()
    worker.work_once()
    assert left[0][0].status is JobStatus.SUCCEEDED
    assert left == [(home.job, home.candidates, home.events)]
    assert len(slow.tried) == 2


def test_a_worker_that_was_killed_leaves_a_candidate_that_the_next_one_repeats(home):
    home.submit()

    def on_trial(plan, poll):
        if len(executor.tried) == 3:
            raise KeyboardInterrupt  # nothing catches it: as little is written as at a kill

    worker, executor = home.worker(on_trial=on_trial)
    with pytest.raises(KeyboardInterrupt):
        worker.work_once()
    assert len(home.stores.candidates.running(home.id)) == 1
    with home.stores.database.session() as session:
        session.execute(update(JobRow).values(lease_expires_at=None))
    other, _ = home.worker()
    assert other.work_once() is True
    assert home.job.status is JobStatus.SUCCEEDED
    assert "worker went away" in home.candidates[2].reason
    assert home.candidates[3].retry_of == 2
    assert len(set(home.plans())) == len(home.plans()) == 6
