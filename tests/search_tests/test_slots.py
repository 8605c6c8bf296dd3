"""A job on an executor with several slots."""

import threading
import time

import optuna
import pytest

from pareconv.models.plan import Plan
from pareconv.search.errors import InvalidSpec, TaskDied
from pareconv.storage.candidates import CandidateState
from pareconv.storage.job_states import JobStatus

SLOTS = 3
SPEC = {"trials": 12, "repeats": 0}


def endless(poll):
    """What a task that runs for hours is to who waits for it."""
    while True:
        poll()
        time.sleep(0.02)


def until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def worker_with(home, slots=SLOTS, **script):
    worker, executor = home.worker(**script)
    executor.slots = slots
    return worker, executor


def succeed(home, worker):
    worker.work_once()
    assert home.job.error is None
    assert home.job.status is JobStatus.SUCCEEDED


def trials_of(home):
    """Of the study that the dashboard shows."""
    url = home.settings.database
    (study,) = optuna.get_all_study_summaries(storage=url)
    return optuna.load_study(study_name=study.study_name, storage=url).trials


class Crowd:
    """Notes how many are inside at a time; each waits until so many are, or until nobody comes."""

    def __init__(self, size):
        self.most = self._inside = 0
        self._size, self._changed = size, threading.Condition()

    def __call__(self, *_):
        with self._changed:
            self._inside += 1
            self.most = max(self.most, self._inside)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.most >= self._size, timeout=2)
            self._inside -= 1


def test_as_many_trials_are_in_flight_as_there_are_slots_and_none_twice(home):
    home.submit(search=SPEC, finish={"finalists": 0})
    crowd = Crowd(SLOTS)
    worker, executor = worker_with(home, on_trial=crowd)
    succeed(home, worker)
    assert crowd.most == SLOTS
    plans = [Plan.from_json(plan) for plan in executor.tried]
    assert len(set(plans)) == len(plans) == len(home.candidates) == 12


def test_the_dashboards_study_has_every_candidate_by_its_number(home):
    """Also where a later one ends first."""

    def on_trial(plan, _):
        time.sleep(0.1 if executor.tried.index(plan) % SLOTS == 0 else 0.01)

    home.submit(search=SPEC, finish={"finalists": 0})
    worker, executor = worker_with(home, on_trial=on_trial)
    succeed(home, worker)
    accuracies = [each.accuracy for each in home.candidates]
    assert [each.values[0] for each in trials_of(home)] == accuracies
    ended = [each.finished_at for each in home.candidates]
    assert ended != sorted(ended)


def test_a_cancelled_job_stops_all_that_is_in_flight_and_repeats_it_when_resumed(home):
    home.submit(search=SPEC)

    def on_trial(plan, poll):
        if len(executor.tried) > 5:
            endless(poll)

    worker, executor = worker_with(home, on_trial=on_trial)
    thread = threading.Thread(target=worker.work_once)
    thread.start()
    until(lambda: len(home.stores.candidates.running(home.id)) == len(executor.tried) - 5 == 3)
    home.stores.jobs.cancel(home.id)
    until(lambda: home.job.status is JobStatus.CANCELLED, seconds=5)
    thread.join()
    assert home.stores.candidates.running(home.id) == []
    stopped = [each for each in home.candidates if each.state is CandidateState.FAILED]
    assert len(stopped) == 3
    assert all(each.reason == "stopped: the job was cancelled" for each in stopped)
    assert len(trials_of(home)) == len(home.candidates) == 8
    home.stores.jobs.resume(home.id)
    succeed(home, worker_with(home)[0])
    assert len(set(home.plans())) == len(home.plans()) == 12
    repeated = {each.retry_of for each in home.candidates} - {None}
    assert repeated == {each.number for each in stopped}


def test_a_plan_whose_process_died_is_tried_once_more_beside_the_others(home):
    home.submit(search=SPEC)

    def on_trial(plan, _):
        if executor.tried.count(plan) == 1 and plan in executor.tried[:2]:
            raise TaskDied("evaluate: its process was killed by SIGKILL")

    worker, executor = worker_with(home, on_trial=on_trial)
    succeed(home, worker)
    assert len(set(home.plans())) == len(home.plans()) == 12
    failed = home.plans(CandidateState.FAILED)
    assert len(failed) == 2
    assert sorted(each.retry_of for each in home.candidates if each.retry_of is not None) == [
        each.number for each in home.candidates if each.state is CandidateState.FAILED
    ]


def test_an_error_that_ends_the_job_stops_the_trials_beside_it(home):
    def on_trial(plan, poll):
        if len(executor.tried) == SLOTS:
            raise InvalidSpec("dataset.source", "the images are gone")
        endless(poll)

    home.submit(search=SPEC)
    worker, executor = worker_with(home, on_trial=on_trial)
    worker.work_once()
    assert home.job.status is JobStatus.FAILED
    assert home.job.error["errors"][0]["field"] == "dataset.source"
    assert [each.reason for each in home.candidates] == [
        "stopped: dataset.source: the images are gone"
    ] * SLOTS


def test_members_of_the_front_are_evaluated_again_side_by_side(home):
    crowd = Crowd(2)

    def measured(payload):
        if payload["attempt"]:
            crowd()
        return {"accuracy_stderr": 0.03}

    home.submit(search=SPEC | {"repeats": 1}, finish={"finalists": 0})
    worker, _ = worker_with(home, measured=measured)
    succeed(home, worker)
    assert crowd.most > 1
    front = home.stores.candidates.front(home.id)
    assert {each.evaluations for each in front} == {2}


def test_finalists_are_finished_side_by_side(home):
    crowd = Crowd(2)
    home.submit(search=SPEC)
    worker, executor = worker_with(home, on_finish=crowd)
    succeed(home, worker)
    assert crowd.most == 2
    assert len(executor.finished) == 2
    assert sum(each.finalist for each in home.candidates) == 2


def test_for_an_accuracy_drop_they_are_finished_one_by_one(home):
    crowd = Crowd(2)
    home.submit(search=SPEC, budget={"accuracy_drop": 5.0}, finish={"finalists": 3})
    worker, executor = worker_with(home, on_finish=crowd)
    succeed(home, worker)
    assert len(executor.finished) > 1
    assert crowd.most == 1


def test_the_library_is_built_in_as_many_shards_of_whole_blocks(home):
    shards = []

    def library(payload, on_event, poll):
        shards.append({each["block"] for each in payload["wanted"]})
        return build(payload, on_event, poll)

    home.submit(search=SPEC)
    worker, executor = worker_with(home, slots=2)
    build, executor.library = executor.library, library
    succeed(home, worker)
    assert len(shards) == 2
    assert shards[0] | shards[1] == set(home.table.changes)
    assert not shards[0] & shards[1]
    assert len(set(executor.built)) == len(executor.built) == 9


@pytest.mark.parametrize("slots", [1, 3])
def test_where_the_process_of_a_library_dies_what_it_lacks_is_built_once_more(slots, home):
    """What was there by then is not."""

    def on_library(wanted, poll):
        if wanted["block"] == "b" and not died:
            died.append(wanted)
            raise TaskDied("library: its process was killed by SIGKILL")

    died = []
    home.submit(search=SPEC)
    worker, executor = worker_with(home, slots, on_library=on_library)
    succeed(home, worker)
    assert len(set(executor.built)) == 9
    assert slots > 1 or len(executor.built) == 9
    (event,) = [event for event in home.events if event.type == "task_died"]
    assert event.data == {"task": "library", "attempt": 1}
    assert "SIGKILL" in event.message


def test_a_profile_whose_process_died_is_made_once_more(home):
    def on_profile():
        if not died:
            died.append(True)
            raise TaskDied("profile: its process was killed by SIGKILL")

    died = []
    home.submit()
    succeed(home, home.worker(on_profile=on_profile)[0])
    (event,) = [event for event in home.events if event.type == "task_died"]
    assert event.data == {"task": "profile", "attempt": 1}
