"""A worker takes a job through its stages, and what fails on the way."""

import pytest

from pareconv.models.cost_table import Cost, CostTable
from pareconv.models.plan import KEEP, Option, Plan
from pareconv.search import worker as worker_module
from pareconv.search.errors import (
    Diverged,
    InvalidSpec,
    JobFailed,
    OutOfMemory,
    TaskDied,
    TaskTimeout,
)
from pareconv.storage.candidates import CandidateState
from pareconv.storage.errors import QuotaReached, Unavailable
from pareconv.storage.job_states import JobStatus, Stage


def test_without_a_job_there_is_nothing_to_do(home):
    worker, _ = home.worker()
    assert worker.work_once() is False


def test_a_job_goes_through_its_stages_to_success(home):
    home.submit()
    worker, _ = home.worker()
    seen = []
    update_job = worker._stores.jobs.update

    def watch(id, **values):
        seen.append((values.get("stage"), values.get("progress")))
        return update_job(id, **values)

    worker._stores.jobs.update = watch
    assert worker.work_once() is True
    assert home.job.status is JobStatus.SUCCEEDED
    assert (home.job.progress, home.job.error, home.job.lease_owner) == (1.0, None, None)
    progress = [done for _, done in seen if done is not None]
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    stages = dict.fromkeys(stage for stage, _ in seen if stage)
    assert list(stages) == [Stage.PROFILE, Stage.LIBRARY, Stage.SEARCH, Stage.FINISH]
    types = [event.type for event in home.events]
    assert types == ["profiled", "library", *["trial"] * 6, "finalist", "finalist", "succeeded"]
    assert worker.work_once() is False


def test_what_was_found_is_remembered(home):
    home.submit()
    worker, _ = home.worker()
    worker.work_once()
    assert [each.number for each in home.candidates] == list(range(6))
    assert len(set(home.plans())) == 6
    for each in home.candidates:
        cost = home.table.cost(Plan.from_json(each.plan))
        assert (each.flops, each.params) == (cost.flops, cost.params)
        assert each.flops + each.adds <= 800
        assert each.accuracy == home.accuracy_of(each.plan)
    front = home.stores.candidates.front(home.id)
    best = sorted(front, key=lambda each: -each.accuracy)[:2]
    finalists = [each for each in home.candidates if each.finalist]
    assert {each.number for each in finalists} == {each.number for each in best}
    assert all(each.test_accuracy == home.accuracy_of(each.plan) for each in finalists)
    files = home.stores.artifacts.of_job(home.id)
    assert {file.number for file in files} == {each.number for each in finalists}
    assert home.job.profile["teacher"]["test_accuracy"] == 0.88


def test_each_finalist_has_a_report_of_all_that_is_known_by_then(home):
    home.submit()
    worker, executor = home.worker()
    worker.work_once()
    finalists = [each for each in home.candidates if each.finalist]
    assert {told["trial"] for told in executor.reported} == {each.number for each in finalists}
    front = {each.number for each in home.stores.candidates.front(home.id)}
    for told in executor.reported:
        candidate = home.candidates[told["trial"]]
        assert told["student"]["test_accuracy"] == candidate.test_accuracy
        assert told["teacher"]["test_accuracy"] == home.job.profile["teacher"]["test_accuracy"]
        shown = {each["trial"]: each for each in told["trials"]}
        assert {each.number: each.accuracy for each in home.candidates} == {
            number: each["accuracy"] for number, each in shown.items()
        }
        assert {number for number, each in shown.items() if each["on_front"]} == front
        options = {each["name"]: each["option"] for each in told["blocks"]}
        assert options == dict.fromkeys(home.table.changes, "keep") | candidate.plan
    names = {file.filename for file in home.stores.artifacts.of_job(home.id)}
    ends = ("onnx", "html")
    assert names == {f"{home.id}-{each.number}.{end}" for each in finalists for end in ends}


def test_a_report_that_fails_costs_no_finalist(home):
    def on_report(_):
        raise OutOfMemory("no memory")

    home.submit()
    worker, _ = home.worker(on_report=on_report)
    worker.work_once()
    assert home.job.status is JobStatus.SUCCEEDED
    assert sum(each.finalist for each in home.candidates) == 2
    events = [event for event in home.events if event.type == "report_failed"]
    assert [event.level for event in events] == ["warning"] * 2
    assert "no memory" in events[0].message
    assert {file.format for file in home.stores.artifacts.of_job(home.id)} == {"onnx"}


def test_a_file_that_was_refused_is_told_and_the_others_are_there(home):
    home.submit(finish={"finalists": 1, "formats": ["onnx", "onnx-int8"]})
    worker, executor = home.worker()
    executor.refused = [{"format": "onnx-int8", "reason": "onnx-int8: fell to chance"}]
    worker.work_once()
    (event,) = [event for event in home.events if event.type == "file_refused"]
    (finalist,) = [each for each in home.candidates if each.finalist]
    assert event.data == {"trial": finalist.number, "format": "onnx-int8"}
    assert "fell to chance" in event.message
    assert [file.format for file in home.stores.artifacts.of_job(home.id)] == ["onnx"]
    assert executor.reported == []


def test_without_finalists_nothing_is_tested(home):
    home.submit(finish={"finalists": 0})
    worker, executor = home.worker()
    worker.work_once()
    assert home.job.status is JobStatus.SUCCEEDED
    assert executor.finished == []
    assert home.job.profile["teacher"]["test_accuracy"] is None


@pytest.mark.parametrize(
    "error",
    [Diverged("the training loss became nan within 20 steps", 70.0), OutOfMemory("no memory")],
)
def test_a_candidate_that_fails_has_its_reason_and_the_job_goes_on(error, home):
    home.submit()

    def on_trial(plan, poll):
        if len(executor.tried) == 2:
            raise error

    worker, executor = home.worker(on_trial=on_trial)
    worker.work_once()
    assert home.job.status is JobStatus.SUCCEEDED
    failed = home.candidates[1]
    assert (failed.state, failed.reason) == (CandidateState.FAILED, str(error))
    assert failed.compute == getattr(error, "compute", None)
    assert len(home.plans()) == 5
    assert executor.tried.count(failed.plan) == 1
    (event,) = [event for event in home.events if event.type == "trial_failed"]
    assert str(error) in event.message
    assert event.data == {"trial": 1}


def test_a_trial_past_its_time_limit_has_failed_and_says_so(home):
    home.submit(search={"trials": 6, "repeats": 0, "trial_time_limit_s": 20})

    def on_trial(plan, poll):
        if len(executor.tried) == 2:
            raise TaskTimeout("evaluate ran past its time limit and was stopped")

    worker, executor = home.worker(on_trial=on_trial)
    worker.work_once()
    assert home.job.status is JobStatus.SUCCEEDED
    failed = home.candidates[1]
    assert failed.state is CandidateState.FAILED
    assert "longer than search.trial_time_limit_s of 20 s" in failed.reason
    assert executor.tried.count(failed.plan) == 1
    assert executor.limits["evaluate"] == 20
    assert (executor.limits["profile"], executor.limits["finish"]) == (None, None)


def test_a_plan_whose_process_died_is_tried_once_more(home):
    home.submit()

    def on_trial(plan, poll):
        if len(executor.tried) == 2:
            raise TaskDied("evaluate: its process was killed by SIGKILL")

    worker, executor = home.worker(on_trial=on_trial)
    worker.work_once()
    failed, again = home.candidates[1:3]
    assert failed.state is CandidateState.FAILED
    assert "SIGKILL" in failed.reason
    assert (again.state, again.plan, again.retry_of) == (CandidateState.COMPLETE, failed.plan, 1)
    assert len(home.candidates) == 7
    assert len(set(home.plans())) == len(home.plans()) == 6


def test_a_plan_whose_process_dies_twice_is_given_up(home):
    home.submit()

    def on_trial(plan, poll):
        if plan == executor.tried[0]:
            raise TaskDied("evaluate: its process was killed by SIGKILL")

    worker, executor = home.worker(on_trial=on_trial)
    worker.work_once()
    assert home.job.status is JobStatus.SUCCEEDED
    assert executor.tried.count(executor.tried[0]) == 2
    assert len(home.plans(CandidateState.FAILED)) == 2
    assert len(set(home.plans())) == 5


def test_when_every_candidate_fails_the_job_fails_with_the_last_reason(home):
    home.submit()

    def on_trial(plan, poll):
        raise Diverged(f"nan in number {len(executor.tried)}")

    worker, executor = home.worker(on_trial=on_trial)
    worker.work_once()
    assert home.job.status is JobStatus.FAILED
    assert "nan in number 6" in home.job.error["detail"]
    assert home.job.error["type"] == "/problems/job-failed"
    assert home.events[-1].level == "error"


def test_budgets_that_no_plan_meets_together_are_named(home):
    """Each option meets one of the two budgets."""
    options = {KEEP: Cost(), Option("svd"): Cost(-60, -10), Option("shift"): Cost(-10, -60)}
    home.table = CostTable(Cost(100, 100), {"a": options})
    home.submit(budget={"flops": 50, "params": 50})
    home.worker()[0].work_once()
    assert home.job.status is JobStatus.FAILED
    assert home.job.error["detail"] == (
        "no plan was found within 50 flops and 50 params; raise one budget, or allow more time"
    )


def test_a_spec_that_cannot_work_is_a_problem_with_its_field(home):
    def on_profile():
        raise InvalidSpec("teacher.weights", "the teacher is near chance")

    home.submit()
    worker, _ = home.worker(on_profile=on_profile)
    worker.work_once()
    assert home.job.status is JobStatus.FAILED
    assert home.job.error["errors"] == [
        {"field": "teacher.weights", "message": "the teacher is near chance"}
    ]
    assert home.job.error["type"] == "/problems/invalid-request"
    assert home.candidates == []


def test_a_failed_job_goes_on_after_a_repair(home):
    def on_profile():
        raise JobFailed("no such file")

    home.submit()
    worker, _ = home.worker(on_profile=on_profile)
    worker.work_once()
    home.stores.jobs.resume(home.id)
    repaired, _ = home.worker()
    repaired.work_once()
    assert (home.job.status, home.job.error) == (JobStatus.SUCCEEDED, None)


def test_an_unexpected_error_fails_the_job_and_not_the_worker(home):
    def on_profile():
        raise ZeroDivisionError("division by zero")

    home.submit()
    worker, executor = home.worker(on_profile=on_profile)
    worker.work_once()
    assert home.job.error["type"] == "/problems/internal-error"
    assert "ZeroDivisionError" in home.job.error["detail"]
    executor.on_profile = lambda: None
    home.submit()
    assert worker.work_once() is True
    assert home.job.status is JobStatus.SUCCEEDED


@pytest.mark.parametrize("stage", ["on_profile", "on_library", "on_trial", "on_finish"])
def test_a_database_that_is_away_costs_no_job(stage, home):
    home.submit()
    away = [Unavailable("the server closed the connection")]

    def fail_once(*_):
        if away:
            raise away.pop()

    worker, _ = home.worker(**{stage: fail_once})
    worker.work_once()
    assert (home.job.status, home.job.lease_owner) == (JobStatus.RUNNING, None)
    assert worker.work_once() is True
    assert home.job.status is JobStatus.SUCCEEDED
    assert len(set(home.plans())) == 6  # of the one that was cut off the second try counts
    assert sum(each.finalist for each in home.candidates) == 2


def test_a_worker_waits_for_a_database_that_is_away(home, monkeypatch):
    monkeypatch.setattr(worker_module, "_AWAY_SECONDS", 0.01)
    home.submit()
    worker, _ = home.worker()
    claim, refused = worker._stores.jobs.claim, []

    def away_at_first(*given, **limits):
        if len(refused) < 3:
            refused.append(given)
            raise Unavailable("no route to the database")
        worker._ending.set()
        return claim(*given, **limits)

    worker._stores.jobs.claim = away_at_first
    worker.run()
    assert len(refused) == 3
    assert home.job.status is JobStatus.RUNNING  # claimed; the worker was told to end then


def test_a_finalist_that_cannot_be_finished_is_reported_and_the_others_go_on(home):
    def on_finish(plan):
        if plan == executor.finished[0]:
            raise Diverged("nan in the finish")

    home.submit()
    worker, executor = home.worker(on_finish=on_finish)
    worker.work_once()
    assert home.job.status is JobStatus.SUCCEEDED
    (event,) = [event for event in home.events if event.type == "finish_failed"]
    assert "nan in the finish" in event.message
    assert home.candidates[event.data["trial"]].plan == executor.finished[0]
    (finalist,) = [each for each in home.candidates if each.finalist]
    assert finalist.plan == executor.finished[1]


def test_a_finish_whose_process_died_is_done_once_more(home):
    def on_finish(plan):
        if len(executor.finished) == 1:
            raise TaskDied("finish: its process was killed by SIGKILL")

    home.submit()
    worker, executor = home.worker(on_finish=on_finish)
    worker.work_once()
    assert sum(each.finalist for each in home.candidates) == 2
    assert executor.finished.count(executor.finished[0]) == 2


def test_when_no_finalist_can_be_finished_the_job_fails_and_resumes_there(home):
    def on_finish(plan):
        raise OutOfMemory("cannot allocate")

    home.submit()
    worker, _ = home.worker(on_finish=on_finish)
    worker.work_once()
    assert home.job.status is JobStatus.FAILED
    assert "cannot allocate" in home.job.error["detail"]
    home.stores.jobs.resume(home.id)
    other, resumed = home.worker()
    other.work_once()
    assert home.job.status is JobStatus.SUCCEEDED
    assert resumed.tried == []
    assert len(resumed.finished) == 2


def test_a_search_that_runs_out_of_plans_ends_well(home):
    home.submit(budget={"flops": 300, "params": 400}, search={"trials": 50})
    worker, executor = home.worker()
    worker.work_once()
    assert home.job.status is JobStatus.SUCCEEDED
    assert home.plans() == [Plan.from_json(executor.tried[0])]
    (event,) = [event for event in home.events if event.type == "exhausted"]
    assert event.level == "warning"


@pytest.mark.parametrize("when", ["on_profile", "on_library", "on_trial", "on_finish"])
def test_a_job_that_has_no_room_fails_with_the_remedy_and_goes_on_when_there_is(home, when):
    def full(*_):
        raise QuotaReached("the stored files take 10 of 10 bytes; run `pareconv gc`")

    home.submit()
    worker, _ = home.worker(**{when: full})
    worker.work_once()
    assert home.job.status is JobStatus.FAILED
    assert home.job.error["type"] == "/problems/job-failed"
    assert "pareconv gc" in home.job.error["detail"]
    assert len(home.candidates) <= 6
    home.stores.jobs.resume(home.id)
    home.worker()[0].work_once()
    assert (home.job.status, home.job.error) == (JobStatus.SUCCEEDED, None)
    assert sum(each.state is CandidateState.COMPLETE for each in home.candidates) == 6
