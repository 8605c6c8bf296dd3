"""Candidates: numbered without gaps, ended once, and the front among them."""

import random
import time

import pytest

from pareconv.storage.artifacts import ArtifactStore
from pareconv.storage.candidates import CandidateState, CandidateStore
from pareconv.storage.errors import Conflict, InvalidCursor, NotFound
from pareconv.storage.jobs import JobStatus, Stage
from pareconv.storage.tables import CandidateRow

MEASURED = {
    "accuracy": 0.9,
    "accuracy_stderr": 0.01,
    "loss": 0.3,
    "seconds": 12.5,
    "images": 50_000,
    "compute": 61_000.5,
    "rungs": [
        {"images": 10_000, "accuracy": 0.7, "stderr": 0.02},
        {"images": 50_000, "accuracy": 0.9, "stderr": 0.01},
    ],
    "checkpoint": "c" * 64,
}
FINISHED = {
    "finish_accuracy": 0.85,
    "test_accuracy": 0.83,
    "compute": 2.5e6,
    "latencies": [{"runtime": "torch", "student_ms": 1.5}],
}
AGAIN = {
    "accuracy": 0.88,
    "accuracy_stderr": 0.006,
    "evaluations": 3,
    "compute": 100_000.0,
    "seconds": 3.5,
}


@pytest.fixture
def candidates(database):
    return CandidateStore(database)


@pytest.fixture
def create(candidates, job):
    def create(flops=100, *, adds=0, params=10, accuracy=None, **values):
        made = candidates.create(job.id, {}, flops=flops, adds=adds, params=params, **values)
        if accuracy is not None:
            candidates.complete(job.id, made.number, **MEASURED | {"accuracy": accuracy})
        return made

    return create


def test_a_new_candidate_is_running(candidates, job):
    plan = {"layer1.0": "svd(ratio=0.5)", "layer2.0": "ghost"}
    made = candidates.create(job.id, plan, flops=2**40, adds=7, params=2**33)
    assert made == candidates.get(job.id, 0)
    assert (made.number, made.state, made.plan) == (0, CandidateState.RUNNING, plan)
    assert (made.flops, made.adds, made.params) == (2**40, 7, 2**33)
    assert (made.accuracy, made.finished_at, made.finalist) == (None, None, False)
    assert (made.compute, made.predicted, made.rungs, made.evaluations) == (None, None, [], 0)


def test_a_candidate_keeps_what_its_library_predicted(create):
    assert create(predicted=0.125).predicted == 0.125


def test_who_lost_the_job_adds_and_changes_no_candidate(candidates, jobs, job, create):
    jobs.claim("one", 60)
    create(owner="one", accuracy=0.9)
    candidates.reevaluate(job.id, 0, owner="one", **AGAIN)
    before = candidates.all(job.id)
    jobs.release(job.id, "one")
    for _ in range(2):
        with pytest.raises(Conflict, match="worker 'one' no longer holds job"):
            create(owner="one")
        with pytest.raises(Conflict, match="worker 'one' no longer holds job"):
            candidates.reevaluate(job.id, 0, owner="one", **AGAIN | {"accuracy": 0.1})
        jobs.claim("another", 60)
    assert candidates.all(job.id) == before


def test_numbers_count_from_zero_in_each_job(candidates, jobs, job, create):
    other, _ = jobs.create({})
    assert [create().number for _ in range(3)] == [0, 1, 2]
    assert candidates.create(other.id, {}, flops=1, adds=0, params=1).number == 0
    assert [found.number for found in candidates.all(job.id)] == [0, 1, 2]


def test_numbers_have_no_gap_when_threads_create_at_once(candidates, job, create, together):
    for _ in range(8):
        together(*[create] * 4)
    assert [found.number for found in candidates.all(job.id)] == list(range(32))


def test_a_retry_names_what_it_retries(create):
    create()
    assert create(retry_of=0).retry_of == 0


def test_a_candidate_completes_with_what_was_measured(candidates, job, create):
    create()
    assert candidates.complete(job.id, 0, **MEASURED)
    found = candidates.get(job.id, 0)
    assert {name: getattr(found, name) for name in MEASURED} == MEASURED
    assert (found.state, found.evaluations) == (CandidateState.COMPLETE, 1)
    assert found.finished_at >= found.created_at


def test_a_candidate_is_stopped_with_the_reason_and_what_was_measured_so_far(
    candidates, job, create
):
    create()
    assert candidates.stop(job.id, 0, "dominated by trial 3", **MEASURED)
    found = candidates.get(job.id, 0)
    assert (found.state, found.reason) == (CandidateState.STOPPED, "dominated by trial 3")
    kept = MEASURED | {"checkpoint": None}
    assert {name: getattr(found, name) for name in kept} == kept
    assert found.finished_at >= found.created_at


def test_a_stopped_candidate_is_on_no_front(candidates, job, create):
    candidates.stop(job.id, create(1).number, "dominated", **MEASURED)
    create(2, accuracy=0.5)
    assert [point.number for point in candidates.front(job.id)] == [1]
    assert candidates.counts(job.id)[CandidateState.STOPPED] == 1


def test_a_candidate_fails_with_the_reason(candidates, job, create):
    create()
    assert candidates.fail(job.id, 0, "the loss is no longer finite", compute=120.5)
    found = candidates.get(job.id, 0)
    assert (found.state, found.reason) == (CandidateState.FAILED, "the loss is no longer finite")
    assert found.compute == 120.5
    assert found.finished_at >= found.created_at


def test_a_candidate_ends_once(candidates, job, create):
    create()
    create()
    assert candidates.fail(job.id, 0, "killed")
    assert candidates.complete(job.id, 1, **MEASURED)
    before = candidates.all(job.id)
    for number in (0, 1):
        assert not candidates.complete(job.id, number, **MEASURED | {"accuracy": 1.0})
        assert not candidates.fail(job.id, number, "too late")
        assert not candidates.stop(job.id, number, "too late", **MEASURED)
    assert not candidates.fail(job.id, 2, "never made")
    assert candidates.all(job.id) == before


def test_of_two_ends_at_the_same_time_one_wins(candidates, job, create, together):
    for number in range(10):
        create()
        completed, failed = together(
            lambda number=number: candidates.complete(job.id, number, **MEASURED),
            lambda number=number: candidates.fail(job.id, number, "killed"),
        )
        assert (completed, failed) in {(True, False), (False, True)}
        expected = CandidateState.COMPLETE if completed else CandidateState.FAILED
        assert candidates.get(job.id, number).state is expected


def test_a_complete_candidate_becomes_a_finalist(candidates, job, create):
    create(accuracy=0.8)
    candidates.finish(job.id, 0, **FINISHED)
    found = candidates.get(job.id, 0)
    assert (found.finalist, found.finish_accuracy, found.test_accuracy) == (True, 0.85, 0.83)
    assert (found.accuracy, found.compute) == (0.8, MEASURED["compute"])
    assert found.finish_compute == FINISHED["compute"]
    assert found.latencies == FINISHED["latencies"]


def test_only_a_complete_candidate_becomes_a_finalist(candidates, job, create):
    create()
    with pytest.raises(Conflict, match=r"candidate 0 .* is running.* can be finished"):
        candidates.finish(job.id, 0, **FINISHED)
    assert not candidates.get(job.id, 0).finalist
    with pytest.raises(NotFound, match="no trial"):
        candidates.finish(job.id, 1, **FINISHED)


def test_a_second_evaluation_replaces_the_accuracy_and_adds_what_it_took(candidates, job, create):
    create(accuracy=0.9)
    candidates.reevaluate(job.id, 0, **AGAIN)
    found = candidates.get(job.id, 0)
    assert (found.accuracy, found.accuracy_stderr, found.evaluations) == (0.88, 0.006, 3)
    assert found.compute == MEASURED["compute"] + AGAIN["compute"]
    assert found.seconds == MEASURED["seconds"] + AGAIN["seconds"]
    assert (found.checkpoint, found.rungs) == (MEASURED["checkpoint"], MEASURED["rungs"])


def test_the_front_is_drawn_on_the_last_evaluation(candidates, job, create):
    create(100, accuracy=0.9)
    create(200, accuracy=0.89)
    candidates.reevaluate(job.id, 0, **AGAIN)
    assert [point.number for point in candidates.front(job.id)] == [0, 1]


def test_only_a_complete_candidate_is_evaluated_again(candidates, job, create):
    create()
    candidates.stop(job.id, create().number, "dominated", **MEASURED)
    for number, state in enumerate(("running", "stopped")):
        before = candidates.get(job.id, number)
        with pytest.raises(Conflict, match=f"is {state}.* can be evaluated again"):
            candidates.reevaluate(job.id, number, **AGAIN)
        assert candidates.get(job.id, number) == before
    with pytest.raises(NotFound, match="no trial"):
        candidates.reevaluate(job.id, 2, **AGAIN)


def test_what_is_not_there_is_not_found(candidates, job):
    with pytest.raises(NotFound, match=f"no trial '{job.id}/0'"):
        candidates.get(job.id, 0)
    with pytest.raises(NotFound, match="no job 'nowhere'"):
        candidates.create("nowhere", {}, flops=1, adds=0, params=1)
    with pytest.raises(NotFound, match="no job 'nowhere'"):
        candidates.version("nowhere")


def test_counts_and_running(candidates, job, create):
    create(accuracy=0.5)
    create()
    create(accuracy=0.5)
    candidates.fail(job.id, create().number, "killed")
    assert candidates.counts(job.id) == {"running": 1, "complete": 2, "stopped": 0, "failed": 1}
    assert [found.number for found in candidates.running(job.id)] == [1]


def test_pages_go_by_number(candidates, job, create):
    numbers = [create().number for _ in range(5)]
    first, cursor = candidates.page(job.id, 2)
    second, cursor = candidates.page(job.id, 2, cursor)
    third, end = candidates.page(job.id, 2, cursor)
    assert [found.number for found in first + second + third] == numbers
    assert end is None
    assert candidates.page(job.id, 5)[1] is None


@pytest.mark.parametrize("cursor", ["", "-1", "x", "9" * 40, "²"])
def test_an_invented_cursor_is_refused(candidates, job, cursor):
    with pytest.raises(InvalidCursor):
        candidates.page(job.id, 2, cursor)


def test_the_version_changes_with_every_change_and_only_then(database, candidates, job, create):
    def finish():
        candidates.finish(job.id, 0, **FINISHED)

    def export():
        ArtifactStore(database).put(
            job.id, 0, format="pt2", sha256="a" * 64, size_bytes=1, filename="m.pt2"
        )

    seen = [candidates.version(job.id)]
    for change in (
        create,
        create,
        lambda: candidates.complete(job.id, 0, **MEASURED),
        lambda: candidates.fail(job.id, 1, "killed"),
        create,
        lambda: candidates.stop(job.id, 2, "dominated", **MEASURED),
        lambda: candidates.reevaluate(job.id, 0, **AGAIN),
        lambda: candidates.want(job.id, 0, {}),
        lambda: candidates.unwant(job.id, 0),
        finish,
        export,
    ):
        change()
        seen.append(candidates.version(job.id))
    assert len(set(seen)) == len(seen)
    candidates.fail(job.id, 1, "again")
    candidates.want(job.id, 0, {})
    candidates.front(job.id)
    assert candidates.version(job.id) == seen[-1]


def test_a_dearer_candidate_must_be_more_accurate(candidates, job, create):
    for flops, accuracy in [(300, 0.8), (100, 0.6), (200, 0.7), (250, 0.7), (150, 0.5)]:
        create(flops, accuracy=accuracy)
    front = candidates.front(job.id)
    assert [(point.flops, point.accuracy) for point in front] == [
        (100, 0.6),
        (200, 0.7),
        (300, 0.8),
    ]


def test_adds_count_as_flops(candidates, job, create):
    create(100, adds=500, accuracy=0.5)
    create(400, accuracy=0.6)
    assert [point.number for point in candidates.front(job.id)] == [1]


def test_only_complete_candidates_of_the_job_are_on_its_front(candidates, jobs, job, create):
    create(1)
    candidates.fail(job.id, create(2).number, "killed")
    create(3, accuracy=0.5)
    other, _ = jobs.create({})
    candidates.create(other.id, {}, flops=1, adds=0, params=1)
    candidates.complete(other.id, 0, **MEASURED)
    assert [point.number for point in candidates.front(job.id)] == [2]


def test_an_empty_job_has_an_empty_front(candidates, job):
    assert candidates.front(job.id) == []


def fill(database, job, count, *, levels):
    """Complete candidates, the dearer the better but for luck; few levels make many ties."""
    draw = random.Random(count * levels)

    with database.session() as session:
        session.add_all(
            CandidateRow(
                job_id=job.id,
                number=number,
                state=CandidateState.COMPLETE,
                plan={},
                flops=cost,
                adds=cost // 3,
                params=levels + cost,
                latency_ms=cost / 7,
                accuracy=(cost + draw.randrange(levels)) / levels / 2,
                finalist=False,
                created_at=job.created_at,
            )
            for number, cost in enumerate(draw.choices(range(levels), k=count))
        )


def brute_force(candidates, cost):
    """Who is dominated by nobody; of equals the lowest number."""

    def dominates(one, other):
        better = cost(one) <= cost(other) and one.accuracy >= other.accuracy
        is_equal = cost(one) == cost(other) and one.accuracy == other.accuracy
        return better and (one.number < other.number if is_equal else True)

    front = [
        each
        for each in candidates
        if not any(dominates(other, each) for other in candidates if other is not each)
    ]
    return sorted(front, key=cost)


@pytest.mark.parametrize("levels", [4, 12, 10_000])
@pytest.mark.parametrize(
    ("name", "cost"),
    [
        ("flops", lambda point: point.flops + point.adds),
        ("params", lambda point: point.params),
        ("latency", lambda point: point.latency_ms),
    ],
)
def test_the_front_is_what_brute_force_finds(database, candidates, job, levels, name, cost):
    fill(database, job, 150, levels=levels)
    expected = brute_force(candidates.all(job.id), cost)
    assert candidates.front(job.id, cost=name) == expected
    assert candidates.best(job.id, cost=name) == expected[-1]
    assert len(expected) > 1


def test_who_has_no_latency_is_not_on_a_front_over_it(candidates, job, create):
    create(accuracy=0.9)
    assert candidates.get(job.id, 0).latency_ms is None
    assert candidates.front(job.id, cost="latency") == []
    assert candidates.best(job.id, cost="latency") is None


def test_the_front_of_ten_thousand_is_fast(database, candidates, job):
    fill(database, job, 10_000, levels=10**6)
    started = time.perf_counter()
    front = candidates.front(job.id)
    assert front
    assert time.perf_counter() - started < 1.0


HOW = {"epochs": 3.0, "formats": ["onnx"]}


def test_a_student_is_wanted_until_it_is_finished(candidates, job, create):
    create(accuracy=0.5)
    create(accuracy=0.6)
    assert candidates.wanted(job.id) == []
    assert candidates.want(job.id, 1, {})
    assert candidates.want(job.id, 1, HOW)  # asked again, in another way
    assert [(each.number, each.wanted) for each in candidates.wanted(job.id)] == [(1, HOW)]
    candidates.finish(job.id, 1, **FINISHED)
    assert candidates.wanted(job.id) == []
    assert [each.number for each in candidates.finalists(job.id)] == [1]


def test_what_cannot_be_finished_is_wanted_no_longer(candidates, job, create):
    create(accuracy=0.5)
    candidates.want(job.id, 0, {})
    candidates.unwant(job.id, 0)
    assert candidates.wanted(job.id) == candidates.finalists(job.id) == []


def test_who_is_finished_is_wanted_in_vain(candidates, jobs, job, create):
    create(accuracy=0.5)
    candidates.finish(job.id, 0, **FINISHED)
    before = jobs.get(job.id), candidates.get(job.id, 0)
    assert not candidates.want(job.id, 0, HOW)
    assert (jobs.get(job.id), candidates.get(job.id, 0)) == before


def test_a_job_that_succeeded_is_queued_for_a_student(candidates, jobs, job, create):
    create(accuracy=0.5)
    jobs.claim("worker", 60)
    jobs.update(job.id, owner="worker", stage=Stage.FINISH, progress=1.0)
    assert jobs.succeed(job.id, owner="worker")
    candidates.want(job.id, 0, {})
    queued = jobs.get(job.id)
    assert (queued.status, queued.stage) == (JobStatus.QUEUED, Stage.FINISH)
    assert (queued.progress, queued.started_at, queued.finished_at) == (0.0, None, None)


def test_a_job_that_waits_or_runs_stays_as_it_is(candidates, jobs, job, create):
    create(accuracy=0.5)
    for _ in range(2):
        before = jobs.get(job.id)
        assert candidates.want(job.id, 0, {})
        assert jobs.get(job.id) == before
        jobs.claim("worker", 60)


@pytest.mark.parametrize(
    ("way", "remedy"),
    [
        ([JobStatus.PAUSED], "resume it first"),
        ([JobStatus.CANCELLED], "resume it first"),
        ([JobStatus.RUNNING, JobStatus.FAILED], "resume it first"),
        ([JobStatus.RUNNING, JobStatus.CANCELLING], "wait until it has ended"),
    ],
)
def test_a_job_that_stopped_early_finishes_nobody(candidates, jobs, job, create, way, remedy):
    create(accuracy=0.5)
    for status in way:
        before = jobs.transition(job.id, status)
    with pytest.raises(Conflict, match=f"is {way[-1]}.*{remedy}"):
        candidates.want(job.id, 0, {})
    assert jobs.get(job.id) == before
    assert candidates.wanted(job.id) == []


def test_only_a_complete_candidate_with_weights_is_wanted(candidates, job, create):
    create()
    candidates.stop(job.id, create().number, "dominated", **MEASURED)
    candidates.complete(job.id, create().number, **MEASURED | {"checkpoint": None})
    for number, reason in ((0, "is running"), (1, "is stopped"), (2, "no weights")):
        with pytest.raises(Conflict, match=f"candidate {number} .*{reason}"):
            candidates.want(job.id, number, {})
    with pytest.raises(NotFound, match="no trial"):
        candidates.want(job.id, 3, {})
    assert candidates.wanted(job.id) == []
