"""Access: what is another's is not there, whatever is asked of it; an admin sees all."""

import pytest

from pareconv.storage.access import EVERYTHING, NOTHING, Access
from pareconv.storage.errors import Conflict, NotFound
from pareconv.storage.jobs import JobStatus, JobStore
from pareconv.storage.latencies import LatencyStore
from pareconv.storage.libraries import LibraryStore
from pareconv.storage.tokens import Scope, TokenStore
from pareconv.storage.uploads import UploadStore

SPEC = {"teacher": {"architecture": "cifar_resnet8"}}
SUBJECT = {"device": "d", "runtime": "torch", "batch": 1, "threads": 1, "versions": {}}


@pytest.fixture
def accesses(database):
    """Those of two tokens, and of an admin."""
    tokens = TokenStore(database)
    scopes = (Scope.SUBMIT, Scope.SUBMIT, Scope.ADMIN)
    return [tokens.create(scope)[0].access for scope in scopes]


@pytest.fixture
def jobs_of(database):
    return lambda access: JobStore(database, access)


def test_jobs_are_seen_by_whose_they_are(accesses, jobs_of):
    ann, bob, admin = accesses
    made = {access: jobs_of(access).create(SPEC)[0] for access in accesses}
    for access in (ann, bob):
        assert jobs_of(access).page(10) == ([made[access]], None)
    assert len(jobs_of(admin).page(10)[0]) == 3
    assert jobs_of(admin).get(made[ann].id).token_id == ann.token_id
    assert jobs_of(NOTHING).page(10) == ([], None)


def test_pages_of_a_status_are_as_narrow(accesses, jobs_of):
    ann, bob, _ = accesses
    ids = [jobs_of(each).create(SPEC)[0].id for each in (ann, bob, ann)]
    first, cursor = jobs_of(ann).page(1, status=JobStatus.QUEUED)
    second, end = jobs_of(ann).page(1, cursor, status=JobStatus.QUEUED)
    assert [job.id for job in first + second] == [ids[2], ids[0]]
    assert end is None


def test_to_others_a_job_is_not_there(accesses, jobs_of):
    ann, bob, admin = accesses
    job, _ = jobs_of(ann).create(SPEC)
    others = jobs_of(bob)
    for call in (
        others.get,
        others.cancel,
        others.resume,
        others.delete,
        lambda id: others.extend(id, trials=1),
        lambda id: others.transition(id, JobStatus.PAUSED),
    ):
        with pytest.raises(NotFound, match=f"^no job '{job.id}'$"):
            call(job.id)
    assert jobs_of(ann).get(job.id) == job
    jobs_of(admin).cancel(job.id)
    assert jobs_of(ann).get(job.id).status is JobStatus.CANCELLED


def test_what_was_there_before_tokens_is_for_admins(accesses, jobs_of):
    ann, _, admin = accesses
    job, _ = jobs_of(EVERYTHING).create(SPEC)
    assert job.token_id == ""
    assert jobs_of(admin).get(job.id) == job
    assert jobs_of(ann).page(10) == ([], None)


def test_idempotency_keys_are_each_one_s_own(accesses, jobs_of):
    ann, bob, admin = accesses
    made = [
        jobs_of(each).create(SPEC, idempotency_key="k", request_hash=each.token_id)
        for each in (ann, bob, admin, EVERYTHING)
    ]
    assert [is_new for _, is_new in made] == [True] * 4
    again, is_new = jobs_of(ann).create(SPEC, idempotency_key="k", request_hash=ann.token_id)
    assert (again, is_new) == (made[0][0], False)
    assert jobs_of(admin).find("k", admin.token_id) == made[2][0]
    with pytest.raises(Conflict, match=made[1][0].id):
        jobs_of(bob).find("k", "another")


@pytest.mark.parametrize("kind", ["teacher", "dataset"])
def test_two_that_upload_the_same_have_a_row_each(database, accesses, kind):
    def add(access, name):
        return UploadStore(database, kind, access).add(name, "w.pt", "a" * 64, 10, {})

    ann, bob, admin = accesses
    first, second = add(ann, "of ann"), add(bob, "of bob")
    assert (first.id != second.id, second.name) == (True, "of bob")
    assert add(bob, "again") == second
    for access, own, other in ((ann, first, second), (bob, second, first)):
        store = UploadStore(database, kind, access)
        assert (store.page(10), store.count()) == (([own], None), 1)
        assert store.find("a" * 64) == own
        for call in (store.get, store.delete):
            with pytest.raises(NotFound, match=f"^no {kind} '{other.id}'$"):
                call(other.id)
    all_of_it = UploadStore(database, kind, admin)
    assert (all_of_it.page(10)[0], all_of_it.count()) == ([second, first], 0)
    UploadStore(database, kind, ann).delete(first.id)
    assert UploadStore(database, kind, bob).get(second.id) == second


def test_latency_tables_are_of_one_token(database, accesses):
    ann, bob, admin = (LatencyStore(database, access) for access in accesses)
    table = ann.open(**SUBJECT)
    assert bob.page(10) == ([], None)
    for call in (bob.get, bob.delete, lambda id: bob.put(id, [])):
        with pytest.raises(NotFound, match=f"^no latency table '{table.id}'$"):
            call(table.id)
    assert bob.open(**SUBJECT).id != table.id
    assert ann.open(**SUBJECT) == admin.get(table.id) == table


@pytest.fixture
def library_of(database, library, jobs_of):
    """Have a job of somebody refer to the library; the job."""

    def refer(access):
        job, _ = jobs_of(access).create(SPEC)
        workers = jobs_of(EVERYTHING)
        while workers.claim("w", 60) is not None:
            pass
        workers.update(job.id, owner="w", library_id=library.id)
        return job

    return refer


def ended(jobs, job):
    jobs.transition(job.id, JobStatus.SUCCEEDED)


def test_a_library_is_seen_by_whose_job_uses_it(database, library, accesses, library_of):
    ann, bob, admin = (LibraryStore(database, access) for access in accesses)
    library_of(accesses[0])
    assert ann.get(library.id) == library
    assert ann.page(10) == admin.page(10) == ([library], None)
    assert bob.page(10) == ([], None)
    for call in (bob.get, bob.delete):
        with pytest.raises(NotFound, match=f"^no library '{library.id}'$"):
            call(library.id)
    library_of(accesses[1])
    assert bob.get(library.id) == library


def test_who_deletes_a_shared_library_forgets_it(database, library, accesses, library_of, jobs_of):
    ann, bob, _ = (LibraryStore(database, access) for access in accesses)
    jobs = [library_of(access) for access in accesses[:2]]
    ended(jobs_of(EVERYTHING), jobs[0])
    ann.delete(library.id)
    assert ann.page(10) == ([], None)
    assert bob.get(library.id) == library
    with pytest.raises(Conflict, match=jobs[1].id):  # that runs
        bob.delete(library.id)
    ended(jobs_of(EVERYTHING), jobs[1])
    bob.delete(library.id)
    assert LibraryStore(database).page(10) == ([], None)


def test_a_refusal_names_no_job_of_another(database, library, accesses, library_of, jobs_of):
    ann = LibraryStore(database, accesses[0])
    own, other = (library_of(access) for access in accesses[:2])
    with pytest.raises(Conflict) as refused:
        ann.delete(library.id)
    assert own.id in str(refused.value)
    assert other.id not in str(refused.value)


def started(jobs, cap, times):
    claimed = [jobs.claim("w", 60, max_running_per_token=cap) for _ in range(times)]
    return [job and job.id for job in claimed]


def test_a_token_at_its_cap_waits_and_others_do_not(accesses, jobs_of):
    ann, bob, _ = accesses
    anns = [jobs_of(ann).create(SPEC)[0].id for _ in range(3)]
    bobs = [jobs_of(bob).create(SPEC)[0].id for _ in range(2)]
    workers = jobs_of(EVERYTHING)
    assert started(workers, 1, 3) == [anns[0], bobs[0], None]
    workers.transition(anns[0], JobStatus.SUCCEEDED)
    assert started(workers, 1, 2) == [anns[1], None]
    assert started(workers, 2, 3) == [anns[2], bobs[1], None]


def test_without_a_cap_or_a_token_all_run(accesses, jobs_of):
    own = [jobs_of(accesses[0]).create(SPEC)[0].id for _ in range(2)]
    nobodys = [jobs_of(EVERYTHING).create(SPEC)[0].id for _ in range(2)]
    workers = jobs_of(EVERYTHING)
    assert started(workers, 1, 4) == [own[0], *nobodys, None]
    assert started(workers, None, 2) == [own[1], None]


def test_a_job_that_was_given_back_is_not_held_up_by_its_own_place(accesses, jobs_of):
    job, _ = jobs_of(accesses[0]).create(SPEC)
    workers = jobs_of(EVERYTHING)
    workers.claim("first", 60, max_running_per_token=1)
    workers.release(job.id, "first")
    assert started(workers, 1, 1) == [job.id]


def test_two_that_claim_at_once_keep_the_cap(shared_database, accesses, jobs_of, together):
    workers = jobs_of(EVERYTHING)
    for _ in range(10):
        for _ in range(4):
            jobs_of(accesses[0]).create(SPEC)
        claimed = together(*[lambda: workers.claim("w", 60, max_running_per_token=1)] * 4)
        [job] = [job for job in claimed if job is not None]
        workers.transition(job.id, JobStatus.SUCCEEDED)


def test_access_survives_json():
    access = Access("a", sees_all=True)
    assert Access(**access.to_json()) == access
