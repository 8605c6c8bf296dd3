"""Libraries: one per key, built by one worker at a time, kept while somebody needs them."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from pareconv.storage.errors import Conflict, InvalidCursor, NotFound
from pareconv.storage.jobs import JobStatus

SUBJECT = {
    "architecture": "cifar_resnet8",
    "teacher": "b" * 64,
    "data": "c" * 64,
    "recipe": {"images": 5000, "operators": ["svd", "shift"]},
    "teacher_cost": {"flops": 2**40, "params": 100, "adds": 0},
}
ENTRY = {
    "block": "layer1.0",
    "option": "svd(ratio=0.5)",
    "version": 2,
    "rungs": 1,
    "settled": False,
    "images": 2**33,
    "loss": 0.25,
    "score": 0.01,
    "score_stderr": 0.002,
    "score_images": 1000,
    "flops": -(2**33),
    "params": -60,
    "adds": 0,
    "weights": "d" * 64,
}
BRIEF, LONG = 0.001, 60.0


def key(number):
    return f"{number:064}"


def claim_and_lose(libraries, library, owner="first"):
    """A library whose builder's lease has run out."""
    assert libraries.claim(library.id, owner, BRIEF)
    time.sleep(10 * BRIEF)


def test_a_new_library_is_empty_and_in_nobodys_hands(libraries):
    made = libraries.open(key=key(7), **SUBJECT)
    assert made == libraries.get(made.id)
    assert made.key == key(7)
    assert {name: getattr(made, name) for name in SUBJECT} == SUBJECT
    assert (made.front, made.compute, made.lease_owner, made.is_building) == (
        None,
        0.0,
        None,
        False,
    )
    assert abs(made.created_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert libraries.entries(made.id) == []


def test_the_same_key_opens_the_same_library(libraries):
    first = libraries.open(key=key(1), **SUBJECT)
    assert libraries.open(key=key(1), **SUBJECT) == first
    assert libraries.open(key=key(2), **SUBJECT).id != first.id


def test_a_library_that_is_opened_at_the_same_time_is_made_once(libraries, together):
    for number in range(5):
        opened = together(*[lambda number=number: libraries.open(key=key(number), **SUBJECT)] * 4)
        assert len({library.id for library in opened}) == 1
    assert len(libraries.page(100)[0]) == 5


def test_an_unknown_library_is_not_found(libraries):
    for call in (libraries.get, libraries.delete, lambda id: libraries.claim(id, "worker", LONG)):
        with pytest.raises(NotFound, match="no library 'nowhere'"):
            call("nowhere")


def test_of_an_unknown_library_nothing_is_held(libraries):
    assert not libraries.renew("nowhere", "worker", LONG)
    assert not libraries.put("nowhere", "worker", [ENTRY], 1.0)
    assert not libraries.set_front("nowhere", "worker", [])
    libraries.release("nowhere", "worker")
    assert libraries.entries("nowhere") == []


def test_pages_go_from_new_to_old_without_gap(libraries):
    ids = [libraries.open(key=key(number), **SUBJECT).id for number in range(5)]
    first, cursor = libraries.page(2)
    second, cursor = libraries.page(2, cursor)
    third, end = libraries.page(2, cursor)
    assert [library.id for library in first + second + third] == ids[::-1]
    assert end is None
    with pytest.raises(InvalidCursor):
        libraries.page(2, "invented")


def test_one_worker_at_a_time_builds_a_library(libraries, library):
    assert libraries.claim(library.id, "first", LONG)
    assert not libraries.claim(library.id, "second", LONG)
    found = libraries.get(library.id)
    assert (found.lease_owner, found.is_building) == ("first", True)
    assert [each.is_building for each in libraries.page(1)[0]] == [True]


def test_claiming_what_is_ours_prolongs_the_lease(libraries, library):
    libraries.claim(library.id, "worker", LONG)
    before = libraries.get(library.id).lease_expires_at
    assert libraries.claim(library.id, "worker", 2 * LONG)
    assert libraries.get(library.id).lease_expires_at > before + timedelta(seconds=LONG / 2)


def test_of_two_claims_at_the_same_time_one_wins(libraries, together):
    for number in range(10):
        id = libraries.open(key=key(number), **SUBJECT).id
        won = together(
            *[lambda owner=owner, id=id: libraries.claim(id, owner, LONG) for owner in "abcd"]
        )
        assert sorted(won) == [False, False, False, True]
        assert libraries.get(id).lease_owner == "abcd"[won.index(True)]


def test_a_released_library_goes_to_the_next_worker_at_once(libraries, library):
    libraries.claim(library.id, "first", LONG)
    libraries.release(library.id, "second")
    assert not libraries.claim(library.id, "second", LONG)
    libraries.release(library.id, "first")
    assert not libraries.get(library.id).is_building
    assert libraries.claim(library.id, "second", LONG)


def test_renewing_prolongs_the_lease(libraries, library):
    libraries.claim(library.id, "worker", LONG)
    before = libraries.get(library.id).lease_expires_at
    assert libraries.renew(library.id, "worker", 2 * LONG)
    assert libraries.get(library.id).lease_expires_at > before + timedelta(seconds=LONG / 2)


def test_a_lease_that_ran_out_is_lost_even_if_nobody_took_it(libraries, library):
    claim_and_lose(libraries, library)
    assert not libraries.get(library.id).is_building
    assert not libraries.renew(library.id, "first", LONG)
    assert not libraries.put(library.id, "first", [ENTRY], 1.0)
    assert libraries.claim(library.id, "first", LONG)


def test_a_worker_that_lost_its_lease_writes_nothing(libraries, library):
    claim_and_lose(libraries, library)
    assert libraries.claim(library.id, "second", LONG)
    taken = libraries.get(library.id)
    assert not libraries.renew(library.id, "first", LONG)
    assert not libraries.put(library.id, "first", [ENTRY], 1.0)
    assert not libraries.set_front(library.id, "first", [{"flops": 1}])
    libraries.release(library.id, "first")
    assert libraries.get(library.id) == taken
    assert libraries.entries(library.id) == []


@pytest.fixture
def held(libraries, library):
    """A library in the hands of `worker`."""
    assert libraries.claim(library.id, "worker", LONG)
    return library


def test_entries_are_kept_and_their_compute_adds_up(libraries, held):
    assert libraries.put(held.id, "worker", [ENTRY, ENTRY | {"option": "shift"}], 250.5)
    assert libraries.put(held.id, "worker", [ENTRY | {"block": "layer2.0"}], 100.0)
    found = libraries.entries(held.id)
    assert [(each.block, each.option) for each in found] == [
        ("layer1.0", "shift"),
        ("layer1.0", "svd(ratio=0.5)"),
        ("layer2.0", "svd(ratio=0.5)"),
    ]
    assert {name: getattr(found[1], name) for name in ENTRY} == ENTRY
    assert found[1].updated_at >= held.created_at
    after = libraries.get(held.id)
    assert after.compute == 350.5
    assert after.updated_at > held.updated_at


def test_entries_are_sorted_as_python_sorts(libraries, held):
    blocks = ["layer10", "layer1.0", "Layer1", "layer1_0", "layer2", "b", "\u00e9"]
    libraries.put(held.id, "worker", [ENTRY | {"block": block} for block in blocks], 0.0)
    assert [each.block for each in libraries.entries(held.id)] == sorted(blocks)


def test_an_entry_that_is_trained_on_replaces_the_former_whole(libraries, held):
    libraries.put(held.id, "worker", [ENTRY], 1.0)
    not_scored = {name: ENTRY[name] for name in ENTRY if not name.startswith("score")}
    libraries.put(held.id, "worker", [not_scored | {"rungs": 2, "weights": "e" * 64}], 1.0)
    [found] = libraries.entries(held.id)
    assert (found.rungs, found.weights) == (2, "e" * 64)
    assert (found.score, found.score_stderr, found.score_images) == (None, None, None)


def test_of_entries_that_cannot_all_be_kept_none_is(libraries, held):
    with pytest.raises(TypeError):
        libraries.put(held.id, "worker", [ENTRY, ENTRY | {"colour": "red"}], 1.0)
    assert libraries.entries(held.id) == []
    assert libraries.get(held.id).compute == 0.0


def test_the_predicted_front_is_kept(libraries, held):
    front = [{"plan": {"layer1.0": "shift"}, "score": 0.5, "flops": 10}]
    assert libraries.set_front(held.id, "worker", front)
    assert libraries.get(held.id).front == front
    assert libraries.set_front(held.id, "worker", [])
    assert libraries.get(held.id).front == []


def test_a_deleted_library_is_gone_with_its_entries_alone(libraries, held):
    other = libraries.open(key=key(1), **SUBJECT)
    libraries.claim(other.id, "worker", LONG)
    for each in (held, other):
        libraries.put(each.id, "worker", [ENTRY], 1.0)
    libraries.release(held.id, "worker")
    libraries.delete(held.id)
    with pytest.raises(NotFound):
        libraries.get(held.id)
    assert libraries.entries(held.id) == []
    assert len(libraries.entries(other.id)) == 1


def test_a_library_that_is_being_built_is_not_deleted(libraries, held):
    with pytest.raises(Conflict, match="being built by worker 'worker'"):
        libraries.delete(held.id)
    assert libraries.get(held.id).id == held.id


def test_a_library_whose_builder_went_away_is_deleted(libraries, library):
    claim_and_lose(libraries, library)
    libraries.delete(library.id)
    assert libraries.page(10) == ([], None)


@pytest.mark.parametrize("status", [JobStatus.RUNNING, JobStatus.PAUSING, JobStatus.CANCELLING])
def test_a_library_that_a_job_draws_on_is_not_deleted(libraries, library, jobs, job, status):
    jobs.claim("worker", LONG)
    jobs.update(job.id, owner="worker", library_id=library.id)
    if status is not JobStatus.RUNNING:
        jobs.transition(job.id, status)
    with pytest.raises(Conflict, match=f"job {job.id}, which is {status}"):
        libraries.delete(library.id)
    assert jobs.get(job.id).library_id == library.id


@pytest.mark.parametrize("end", [JobStatus.SUCCEEDED, JobStatus.FAILED])
def test_a_job_that_ended_forgets_its_library(libraries, library, jobs, job, end):
    jobs.claim("worker", LONG)
    jobs.update(job.id, owner="worker", library_id=library.id)
    ended = jobs.transition(job.id, end, owner="worker")
    libraries.delete(library.id)
    assert ended.library_id == library.id
    assert jobs.get(job.id).library_id is None


def test_a_library_outlives_the_job_that_built_it(libraries, library, jobs, job):
    jobs.claim("worker", LONG)
    jobs.update(job.id, owner="worker", library_id=library.id)
    jobs.transition(job.id, JobStatus.SUCCEEDED, owner="worker")
    jobs.delete(job.id)
    assert libraries.get(library.id) == library


def test_a_deletion_and_a_job_that_names_the_library_do_not_cross(libraries, jobs, together):
    for number in range(10):
        library, job = libraries.open(key=key(number), **SUBJECT), jobs.create({})[0]
        jobs.claim("worker", LONG)
        deleted, named = together(
            lambda id=library.id: libraries.delete(id),
            lambda id=library.id, job=job: jobs.update(job.id, owner="worker", library_id=id),
        )
        is_kept = isinstance(deleted, Conflict)
        assert is_kept != isinstance(named, NotFound)
        assert jobs.get(job.id).library_id == (library.id if is_kept else None)


def test_values_are_copies(libraries, held):
    libraries.set_front(held.id, "worker", [{"flops": 1}])
    libraries.get(held.id).front.append("changed")
    assert libraries.get(held.id).front == [{"flops": 1}]
