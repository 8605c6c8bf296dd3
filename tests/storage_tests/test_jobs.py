"""Jobs: created once, claimed by one worker at a time, moved only as the table allows."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from pareconv.storage.artifacts import ArtifactStore
from pareconv.storage.candidates import CandidateStore
from pareconv.storage.errors import Conflict, InvalidCursor, NotFound
from pareconv.storage.events import EventStore
from pareconv.storage.ids import new_id
from pareconv.storage.jobs import ALLOWED, TERMINAL, JobStatus, JobStore, Stage

SPEC = {"teacher": {"architecture": "cifar_resnet8"}, "budget": {"flops": "50%"}}
BRIEF, LONG = 0.001, 60.0

# How a new job comes into each status, by legal moves alone.
WAYS = {
    JobStatus.QUEUED: [],
    JobStatus.RUNNING: [JobStatus.RUNNING],
    JobStatus.PAUSING: [JobStatus.RUNNING, JobStatus.PAUSING],
    JobStatus.PAUSED: [JobStatus.PAUSED],
    JobStatus.CANCELLING: [JobStatus.RUNNING, JobStatus.CANCELLING],
    JobStatus.SUCCEEDED: [JobStatus.RUNNING, JobStatus.SUCCEEDED],
    JobStatus.FAILED: [JobStatus.RUNNING, JobStatus.FAILED],
    JobStatus.CANCELLED: [JobStatus.CANCELLED],
}
REPEATABLE = {
    JobStatus.PAUSING,
    JobStatus.PAUSED,
    JobStatus.CANCELLING,
    JobStatus.CANCELLED,
}


def job_that_is(status, jobs):
    """In the hands of a worker where it can be."""
    job, _ = jobs.create(SPEC)
    for to in WAYS[status]:
        is_begun = to is JobStatus.RUNNING
        job = jobs.claim("worker", LONG) if is_begun else jobs.transition(job.id, to)
    assert job.status is status
    return job


def claim_and_lose(jobs, owner="first"):
    """A job whose worker's lease has run out."""
    job = jobs.claim(owner, BRIEF)
    time.sleep(10 * BRIEF)
    return job


def test_a_new_job_waits_in_the_queue(jobs):
    job, is_new = jobs.create(SPEC, name="half")
    assert is_new
    assert job == jobs.get(job.id)
    assert (job.name, job.spec, job.status) == ("half", SPEC, JobStatus.QUEUED)
    assert (job.stage, job.progress, job.claims) == (None, 0.0, 0)
    assert (job.started_at, job.finished_at, job.lease_owner) == (None, None, None)
    assert abs(job.created_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_an_unknown_job_is_not_found(jobs):
    for call in (
        jobs.get,
        jobs.cancel,
        jobs.pause,
        jobs.resume,
        jobs.delete,
        lambda id: jobs.extend(id, trials=1),
        lambda id: jobs.succeed(id, owner="worker"),
        lambda id: jobs.give_in(id, owner="worker"),
        lambda id: jobs.prioritize(id, 1),
    ):
        with pytest.raises(NotFound, match="no job 'nowhere'"):
            call("nowhere")
    with pytest.raises(NotFound):
        jobs.transition("nowhere", JobStatus.PAUSED)


def test_the_same_request_with_the_same_key_is_the_same_job(jobs):
    first, _ = jobs.create(SPEC, idempotency_key="k", request_hash="h")
    again, is_new = jobs.create({}, idempotency_key="k", request_hash="h")
    assert (again, is_new) == (first, False)
    assert jobs.create(SPEC, idempotency_key="other", request_hash="h")[1]


def test_another_request_with_the_same_key_is_a_conflict(jobs):
    first, _ = jobs.create(SPEC, idempotency_key="k", request_hash="h")
    with pytest.raises(Conflict, match=first.id):
        jobs.create({}, idempotency_key="k", request_hash="other")
    assert [job.id for job in jobs.page(10)[0]] == [first.id]


def test_pages_go_from_new_to_old_without_gap(jobs):
    ids = [jobs.create(SPEC)[0].id for _ in range(7)]
    first, cursor = jobs.page(3)
    jobs.create(SPEC)  # a job that comes meanwhile shifts nothing
    second, cursor = jobs.page(3, cursor)
    third, end = jobs.page(3, cursor)
    assert [job.id for job in first + second + third] == ids[::-1]
    assert end is None


def test_a_page_that_is_just_full_is_the_last(jobs):
    ids = [jobs.create(SPEC)[0].id for _ in range(3)]
    page, cursor = jobs.page(3)
    assert ([job.id for job in page], cursor) == (ids[::-1], None)


def test_pages_of_one_status(jobs):
    paused = [job_that_is(JobStatus.PAUSED, jobs).id for _ in range(3)]
    jobs.create(SPEC)
    first, cursor = jobs.page(2, status=JobStatus.PAUSED)
    second, end = jobs.page(2, cursor, status=JobStatus.PAUSED)
    assert [job.id for job in first + second] == paused[::-1]
    assert end is None


@pytest.mark.parametrize("cursor", ["", "1", "'; drop table jobs", "\0" * 26])
def test_an_invented_cursor_is_refused(jobs, cursor):
    with pytest.raises(InvalidCursor, match="next"):
        jobs.page(3, cursor)


def test_the_oldest_queued_job_is_claimed(jobs):
    ids = [jobs.create(SPEC)[0].id for _ in range(3)]
    jobs.cancel(ids[0])
    claimed = jobs.claim("worker", LONG)
    assert (claimed.id, claimed.status, claimed.claims) == (ids[1], JobStatus.RUNNING, 1)
    assert claimed.lease_owner == "worker"
    assert claimed.lease_expires_at - claimed.started_at == timedelta(seconds=LONG)
    assert claimed == jobs.get(ids[1])
    assert jobs.claim("worker", LONG).id == ids[2]
    assert jobs.claim("worker", LONG) is None


def test_a_held_job_is_not_claimed(jobs, job):
    jobs.claim("first", LONG)
    assert jobs.claim("second", LONG) is None


@pytest.mark.parametrize("asked", [JobStatus.RUNNING, JobStatus.PAUSING, JobStatus.CANCELLING])
def test_a_lost_job_is_taken_over_as_it_was(jobs, job, asked):
    started = claim_and_lose(jobs).started_at
    if asked is not JobStatus.RUNNING:
        jobs.transition(job.id, asked)
    taken = jobs.claim("second", LONG)
    assert (taken.id, taken.status, taken.claims) == (job.id, asked, 2)
    assert (taken.lease_owner, taken.started_at) == ("second", started)


def test_a_worker_that_lost_its_lease_writes_nothing(jobs, job):
    claim_and_lose(jobs)
    taken = jobs.claim("second", LONG)
    assert jobs.renew(job.id, "first", LONG) is None
    assert not jobs.update(job.id, owner="first", progress=0.9)
    assert not jobs.release(job.id, "first")
    with pytest.raises(Conflict, match="'first' no longer holds"):
        jobs.transition(job.id, JobStatus.SUCCEEDED, owner="first")
    assert jobs.get(job.id) == taken


def test_a_lease_that_ran_out_is_lost_even_if_nobody_took_it(jobs, job):
    lost = claim_and_lose(jobs)
    assert jobs.renew(job.id, "first", LONG) is None
    assert not jobs.update(job.id, owner="first", progress=0.9)
    assert jobs.get(job.id) == lost


def test_renewing_prolongs_the_lease_and_shows_what_was_asked(jobs, job):
    before = jobs.claim("worker", LONG).lease_expires_at
    assert jobs.renew(job.id, "worker", 2 * LONG) is JobStatus.RUNNING
    assert jobs.get(job.id).lease_expires_at > before
    jobs.cancel(job.id)
    assert jobs.renew(job.id, "worker", LONG) is JobStatus.CANCELLING


def test_a_deleted_job_is_no_longer_ours(jobs):
    assert jobs.renew("nowhere", "worker", LONG) is None
    assert not jobs.update("nowhere", owner="worker", progress=0.5)
    assert not jobs.release("nowhere", "worker")


def test_a_released_job_goes_to_the_next_worker_at_once(jobs, job):
    jobs.claim("first", LONG)
    assert jobs.release(job.id, "first")
    assert jobs.get(job.id).status is JobStatus.RUNNING
    assert jobs.claim("second", LONG).id == job.id


def test_its_worker_reports_on_a_job(jobs, job):
    jobs.claim("worker", LONG)
    assert jobs.update(job.id, owner="worker", stage=Stage.PROFILE, profile={"flops": 12})
    assert jobs.update(job.id, owner="worker", progress=0.25, resolved={"seed": 0})
    found = jobs.get(job.id)
    assert (found.stage, found.progress) == (Stage.PROFILE, 0.25)
    assert (found.profile, found.resolved) == ({"flops": 12}, {"seed": 0})


def test_its_worker_names_the_library_that_a_job_draws_on(jobs, job, library):
    assert job.library_id is None
    jobs.claim("worker", LONG)
    assert jobs.update(job.id, owner="worker", library_id=library.id)
    jobs.update(job.id, owner="worker", progress=0.5)
    assert jobs.get(job.id).library_id == library.id


def test_a_job_cannot_name_a_library_that_is_not_there(jobs, job):
    claimed = jobs.claim("worker", LONG)
    with pytest.raises(NotFound, match="no library 'nowhere'"):
        jobs.update(job.id, owner="worker", library_id="nowhere", progress=0.5)
    assert jobs.get(job.id) == claimed


def test_progress_can_go_back_to_zero(jobs, job):
    jobs.claim("worker", LONG)
    jobs.update(job.id, owner="worker", progress=0.5)
    jobs.update(job.id, owner="worker", progress=0.0)
    assert jobs.get(job.id).progress == 0.0


@pytest.mark.parametrize("status", JobStatus)
@pytest.mark.parametrize("to", JobStatus)
def test_a_status_follows_another_only_as_the_table_says(jobs, status, to):
    job = job_that_is(status, jobs)
    if to in ALLOWED[status] or (to is status and to in REPEATABLE):
        assert jobs.transition(job.id, to).status is to
        assert jobs.get(job.id).status is to
    else:
        with pytest.raises(Conflict, match=f"is {status} .* can become {min(ALLOWED[status])}"):
            jobs.transition(job.id, to)
        assert jobs.get(job.id) == job


def test_of_contradicting_moves_at_the_same_time_one_wins(jobs, together):
    for _ in range(10):
        job = job_that_is(JobStatus.RUNNING, jobs)
        moves = [
            lambda to=to: jobs.transition(job.id, to)  # noqa: B023 - done before the next job
            for to in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLING)
        ]
        outcomes = together(*moves)
        assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 2
        assert jobs.get(job.id) in outcomes


def test_the_same_request_at_the_same_time_is_one_job(jobs, together):
    def request():
        return jobs.create(SPEC, idempotency_key="k", request_hash="h")

    outcomes = together(*[request] * 4)
    assert sorted(is_new for _, is_new in outcomes) == [False, False, False, True]
    assert {job.id for job, _ in outcomes} == {job.id for job in jobs.page(10)[0]}


def test_the_table_is_the_one_of_the_design():
    assert {str(status): sorted(ALLOWED[status]) for status in JobStatus} == {
        "queued": ["cancelled", "paused", "running"],
        "running": ["cancelling", "failed", "pausing", "succeeded"],
        "pausing": ["cancelling", "failed", "paused", "succeeded"],
        "paused": ["cancelled", "queued"],
        "cancelling": ["cancelled"],
        "succeeded": ["queued"],
        "failed": ["queued"],
        "cancelled": ["queued"],
    }


@pytest.mark.parametrize("end", [JobStatus.SUCCEEDED, JobStatus.FAILED])
def test_its_worker_ends_a_job(jobs, job, end):
    jobs.claim("worker", LONG)
    error = {"title": "diverged"} if end is JobStatus.FAILED else None
    ended = jobs.transition(job.id, end, owner="worker", error=error)
    assert (ended.status, ended.error) == (end, error)
    assert ended.finished_at >= ended.started_at
    assert (ended.lease_owner, ended.lease_expires_at) == (None, None)
    assert ended == jobs.get(job.id)


def test_repeating_a_pause_changes_nothing(jobs):
    paused = job_that_is(JobStatus.PAUSED, jobs)
    assert jobs.transition(paused.id, JobStatus.PAUSED) == paused
    assert paused.finished_at is None


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.PAUSED])
def test_a_job_that_no_worker_has_is_cancelled_at_once(jobs, status):
    cancelled = jobs.cancel(job_that_is(status, jobs).id)
    assert cancelled.status is JobStatus.CANCELLED
    assert cancelled.finished_at is not None
    assert jobs.cancel(cancelled.id) == cancelled


@pytest.mark.parametrize("asked", [JobStatus.RUNNING, JobStatus.PAUSING])
def test_a_worker_is_asked_to_cancel_and_keeps_its_lease(jobs, job, asked):
    jobs.claim("worker", LONG)
    if asked is not JobStatus.RUNNING:
        jobs.transition(job.id, asked)
    cancelling = jobs.cancel(job.id)
    assert (cancelling.status, cancelling.lease_owner) == (JobStatus.CANCELLING, "worker")
    assert jobs.cancel(job.id) == cancelling
    ended = jobs.transition(job.id, JobStatus.CANCELLED, owner="worker")
    assert ended.lease_owner is None


@pytest.mark.parametrize("status", [JobStatus.SUCCEEDED, JobStatus.FAILED])
def test_a_job_that_ended_cannot_be_cancelled(jobs, status):
    job = job_that_is(status, jobs)
    with pytest.raises(Conflict, match=f"is {status}"):
        jobs.cancel(job.id)


@pytest.mark.parametrize("status", JobStatus)
def test_only_a_job_that_stopped_early_is_resumed(jobs, status):
    job = job_that_is(status, jobs)
    if status in {JobStatus.PAUSED, JobStatus.FAILED, JobStatus.CANCELLED}:
        assert jobs.resume(job.id).status is JobStatus.QUEUED
    else:
        with pytest.raises(Conflict, match="cancelled or failed or paused"):
            jobs.resume(job.id)
        assert jobs.get(job.id) == job


def test_a_resumed_job_forgets_its_error_and_keeps_its_place(jobs, job):
    jobs.claim("worker", LONG)
    jobs.update(job.id, owner="worker", stage=Stage.SEARCH, progress=0.5)
    failed = jobs.transition(job.id, JobStatus.FAILED, owner="worker", error={"title": "disk"})
    resumed = jobs.resume(job.id)
    assert (resumed.error, resumed.finished_at) == (None, None)
    assert (resumed.stage, resumed.progress) == (Stage.SEARCH, 0.5)
    again = jobs.claim("other", LONG)
    assert (again.id, again.claims, again.started_at) == (job.id, 2, failed.started_at)


@pytest.mark.parametrize("status", sorted({*TERMINAL, JobStatus.QUEUED, JobStatus.PAUSED}))
def test_deleting_a_job_removes_all_that_hangs_on_it(database, jobs, status):
    job, other = (job_that_is(status, jobs) for _ in range(2))
    events, candidates, artifacts = (
        store(database) for store in (EventStore, CandidateStore, ArtifactStore)
    )
    for id in (job.id, other.id):
        events.append(id, "stage", "profile")
        candidates.create(id, {}, flops=1, adds=0, params=1)
        artifacts.put(id, 0, format="onnx", sha256="a" * 64, size_bytes=1, filename="m.onnx")
    jobs.delete(job.id)
    with pytest.raises(NotFound):
        jobs.get(job.id)
    for store in (events.page, candidates.all, artifacts.of_job):
        assert store(job.id) == []
        assert store(other.id) != []


@pytest.mark.parametrize("status", [JobStatus.RUNNING, JobStatus.PAUSING, JobStatus.CANCELLING])
def test_a_job_that_a_worker_has_is_not_deleted(jobs, status):
    job = job_that_is(status, jobs)
    with pytest.raises(Conflict, match=f"is {status}; cancel it"):
        jobs.delete(job.id)
    assert jobs.get(job.id) == job


def test_values_are_copies(jobs, job):
    jobs.get(job.id).spec["teacher"] = "changed"
    assert jobs.get(job.id).spec == job.spec


def test_a_job_of_an_unknown_id_of_the_right_form_is_not_found(database):
    with pytest.raises(NotFound):
        JobStore(database).get(new_id())


MEASURED = {
    "accuracy": 0.9,
    "accuracy_stderr": 0.01,
    "loss": 0.3,
    "seconds": 12.5,
    "images": 50,
    "compute": 60.0,
    "rungs": [],
    "checkpoint": "c" * 64,
}
EXTENDED = {"trials": 40, "time_limit_s": None}


def test_a_job_that_succeeded_is_extended_and_waits_again(jobs, database):
    job = job_that_is(JobStatus.SUCCEEDED, jobs)
    candidates = CandidateStore(database)
    for _ in range(2):
        number = candidates.create(job.id, {}, flops=1, adds=0, params=1).number
        candidates.complete(job.id, number, **MEASURED)
    again = {"accuracy": 0.8, "accuracy_stderr": 0.01, "evaluations": 3}
    candidates.reevaluate(job.id, 1, **again, compute=1.0, seconds=5.0)
    candidates.finish(job.id, 0, finish_accuracy=0.9, test_accuracy=0.9, compute=1.0)
    extended = jobs.extend(job.id, trials=40)
    assert extended == jobs.get(job.id)
    assert (extended.status, extended.stage) == (JobStatus.QUEUED, Stage.SEARCH)
    assert (extended.progress, extended.started_at, extended.finished_at) == (0.0, None, None)
    counted = {"candidates": 2, "evaluations": 4, "seconds": 30.0, "finalists": 1}
    assert extended.extension == EXTENDED | counted


def test_the_last_extension_is_kept(jobs):
    job = job_that_is(JobStatus.SUCCEEDED, jobs)
    jobs.extend(job.id, trials=40)
    jobs.claim("worker", LONG)
    jobs.transition(job.id, JobStatus.SUCCEEDED)
    again = jobs.extend(job.id, trials=3, time_limit_s=2.5)
    nothing = {"candidates": 0, "evaluations": 0, "seconds": 0, "finalists": 0}
    assert again.extension == {"trials": 3, "time_limit_s": 2.5} | nothing


@pytest.mark.parametrize("status", set(JobStatus) - {JobStatus.SUCCEEDED})
def test_only_a_job_that_succeeded_is_extended(jobs, status):
    job = job_that_is(status, jobs)
    is_resumable = status in {JobStatus.PAUSED, JobStatus.FAILED, JobStatus.CANCELLED}
    remedy = "resume it first" if is_resumable else "wait until it has ended"
    with pytest.raises(Conflict, match=f"is {status}.*{remedy}"):
        jobs.extend(job.id, trials=40)
    assert jobs.get(job.id) == job


def test_a_job_succeeds_for_its_worker_alone(jobs, job):
    jobs.claim("worker", LONG)
    with pytest.raises(Conflict, match="'other' no longer holds"):
        jobs.succeed(job.id, owner="other")
    assert jobs.succeed(job.id, owner="worker")
    assert jobs.get(job.id).status is JobStatus.SUCCEEDED
    assert jobs.get(job.id).progress == 0.0  # which its worker reports


def test_a_job_does_not_succeed_while_a_student_is_wanted(jobs, job, database):
    """It was asked for after the worker looked for the last time: the next one goes on at once."""
    jobs.claim("worker", LONG)
    candidates = CandidateStore(database)
    candidates.create(job.id, {}, flops=1, adds=0, params=1)
    candidates.complete(job.id, 0, **MEASURED)
    assert candidates.want(job.id, 0, {})
    assert not jobs.succeed(job.id, owner="worker")
    assert jobs.get(job.id).status is JobStatus.RUNNING
    assert jobs.claim("other", LONG).id == job.id
    candidates.finish(job.id, 0, finish_accuracy=0.9, test_accuracy=0.9, compute=1.0)
    assert jobs.succeed(job.id, owner="other")


def test_a_cancelled_job_does_not_succeed(jobs, job):
    jobs.claim("worker", LONG)
    jobs.cancel(job.id)
    with pytest.raises(Conflict, match="is cancelling"):
        jobs.succeed(job.id, owner="worker")


@pytest.mark.parametrize("asked", [JobStatus.RUNNING, JobStatus.PAUSING])
def test_a_worker_is_asked_to_pause_and_gives_in(jobs, job, asked):
    jobs.claim("worker", LONG)
    if asked is JobStatus.PAUSING:
        jobs.transition(job.id, asked)
    pausing = jobs.pause(job.id)
    assert (pausing.status, pausing.lease_owner) == (JobStatus.PAUSING, "worker")
    assert jobs.pause(job.id) == pausing
    paused = jobs.give_in(job.id, owner="worker")
    assert (paused.status, paused.lease_owner) == (JobStatus.PAUSED, None)
    assert jobs.pause(job.id) == paused
    assert jobs.claim("worker", LONG) is None


@pytest.mark.parametrize("asked_before", [True, False])
@pytest.mark.parametrize(
    ("ask", "status"), [("cancel", JobStatus.CANCELLED), ("pause", JobStatus.PAUSED)]
)
def test_a_worker_that_died_is_not_waited_for(jobs, job, ask, status, asked_before):
    jobs.claim("worker", BRIEF)
    if asked_before:
        getattr(jobs, ask)(job.id)
    time.sleep(10 * BRIEF)

    ended = getattr(jobs, ask)(job.id)

    assert (ended.status, ended.lease_owner) == (status, None)
    with pytest.raises(Conflict):
        jobs.give_in(job.id, owner="worker")
    assert jobs.claim("another", LONG) is None


@pytest.mark.parametrize("asked", ["cancel", "pause"])
def test_what_a_worker_was_asked_to_end_and_died_on_is_resumed_and_deleted(jobs, asked):
    for then in (jobs.resume, jobs.delete):
        job, _ = jobs.create(SPEC)
        jobs.claim("worker", BRIEF)
        getattr(jobs, asked)(job.id)
        time.sleep(10 * BRIEF)
        then(job.id)


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (JobStatus.SUCCEEDED, ("info", "job succeeded")),
        (JobStatus.FAILED, ("error", "job failed: disk")),
    ],
)
def test_its_end_is_among_a_job_s_events_at_once(database, jobs, job, end, told):
    jobs.claim("worker", LONG)
    error = {"detail": "disk"} if end is JobStatus.FAILED else None
    jobs.transition(job.id, end, owner="worker", error=error)

    [event] = EventStore(database).page(job.id)

    assert (event.level, event.message, event.type) == (*told, str(end))


def test_asking_again_is_told_once(database, jobs, job):
    for _ in range(2):
        jobs.pause(job.id)
    for _ in range(2):
        jobs.cancel(job.id)

    assert [each.message for each in EventStore(database).page(job.id)] == [
        "job paused",
        "job cancelled",
    ]


def test_a_queued_job_is_paused_at_once(jobs, job):
    assert jobs.pause(job.id).status is JobStatus.PAUSED


@pytest.mark.parametrize("status", [JobStatus.CANCELLING, *TERMINAL])
def test_what_is_cancelled_or_has_ended_cannot_be_paused(jobs, status):
    job = job_that_is(status, jobs)
    with pytest.raises(Conflict, match=f"is {status}; only a job that is queued or running"):
        jobs.pause(job.id)
    assert jobs.get(job.id) == job


def test_who_was_asked_to_pause_and_then_to_cancel_cancels(jobs, job):
    jobs.claim("worker", LONG)
    jobs.pause(job.id)
    jobs.cancel(job.id)
    assert jobs.give_in(job.id, owner="worker").status is JobStatus.CANCELLED


def test_nobody_gives_in_who_was_not_asked_or_lost_the_job(jobs, job):
    jobs.claim("worker", LONG)
    with pytest.raises(Conflict, match="is running"):
        jobs.give_in(job.id, owner="worker")
    jobs.pause(job.id)
    with pytest.raises(Conflict, match="'other' no longer holds"):
        jobs.give_in(job.id, owner="other")


def test_a_pause_does_not_start_the_time_of_a_job_anew(jobs, job):
    jobs.claim("worker", LONG)
    jobs.renew(job.id, "worker", LONG)
    worked = jobs.get(job.id).worked_s
    assert worked > 0
    jobs.pause(job.id)
    jobs.give_in(job.id, owner="worker")
    assert jobs.resume(job.id).worked_s >= worked
    jobs.claim("worker", LONG)
    jobs.transition(job.id, JobStatus.FAILED, owner="worker")
    assert jobs.resume(job.id).worked_s == 0


def test_the_most_urgent_job_is_claimed_first_then_the_oldest(jobs):
    low, first, second, high = (
        jobs.create(SPEC, priority=priority)[0].id for priority in (-1, 0, 0, 7)
    )
    order = [jobs.claim("worker", LONG).id for _ in range(4)]
    assert order == [high, first, second, low]


def test_a_queued_job_gets_another_priority(jobs):
    first, second = (jobs.create(SPEC)[0] for _ in range(2))
    assert first.priority == 0
    assert jobs.prioritize(second.id, 5) == jobs.get(second.id)
    assert jobs.claim("worker", LONG).id == second.id


@pytest.mark.parametrize("status", set(JobStatus) - {JobStatus.QUEUED})
def test_only_while_it_is_queued_a_job_gets_another_priority(jobs, status):
    job = job_that_is(status, jobs)
    with pytest.raises(Conflict, match=f"is {status}; only while it is queued"):
        jobs.prioritize(job.id, 5)
    assert jobs.get(job.id) == job
