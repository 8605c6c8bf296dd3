"""Garbage: what no row names goes, what is named or may be soon stays."""

import io
import os
from datetime import UTC, datetime, timedelta

import pytest

from pareconv.storage.artifacts import ArtifactStore
from pareconv.storage.candidates import CandidateStore
from pareconv.storage.files import FileStore
from pareconv.storage.garbage import Collected, Garbage
from pareconv.storage.job_states import JobStatus
from pareconv.storage.uploads import UploadStore

NONE = timedelta(0)
DAY = timedelta(days=1)
WEEK_AGO = (datetime.now(UTC) - timedelta(days=7)).timestamp()
ENTRY = {"block": "a", "option": "shift", "version": 1, "rungs": 1, "settled": True}
ENTRY |= {"images": 1, "loss": 0.1, "flops": -1, "params": -1, "adds": 0}


@pytest.fixture
def files(tmp_path):
    return FileStore(str(tmp_path / "files"))


@pytest.fixture
def garbage(database, files):
    return Garbage(database, files)


@pytest.fixture
def stored(files):
    """Stores a file as if a week ago; its hash."""

    def store(text, *, is_old=True):
        sha256, _ = files.put_stream(io.BytesIO(text.encode()))
        if is_old:
            os.utime(files.local_path(sha256), (WEEK_AGO, WEEK_AGO))
        return sha256

    return store


@pytest.fixture
def candidate(database, job):
    CandidateStore(database).create(job.id, {}, flops=1, adds=0, params=1)
    return job.id


@pytest.fixture
def name(database, jobs, job, libraries, library, candidate):
    """Lets a row of that kind name a file."""

    def upload(kind, sha256):
        UploadStore(database, kind).add("a", "a.pt", sha256, 1, {})

    def as_teacher_of_a_job(sha256):
        jobs.claim("worker", 60)
        jobs.update(job.id, owner="worker", profile={"weights": sha256})
        jobs.transition(job.id, JobStatus.FAILED, owner="worker")

    def as_checkpoint(sha256):
        measured = {"accuracy": 0.5, "accuracy_stderr": 0.1, "loss": 1.0, "seconds": 1.0}
        measured |= {"images": 1, "compute": 1.0, "rungs": [], "checkpoint": sha256}
        assert CandidateStore(database).complete(candidate, 0, **measured)

    def as_export(sha256):
        file = {"format": "pt2", "sha256": sha256, "size_bytes": 1, "filename": "a.pt2"}
        ArtifactStore(database).put(candidate, 0, **file)

    def as_library(sha256):
        libraries.claim(library.id, "worker", 60)
        libraries.put(library.id, "worker", [ENTRY | {"weights": sha256}], 1.0)
        libraries.release(library.id, "worker")

    ways = {
        "teacher": lambda sha256: upload("teacher", sha256),
        "dataset": lambda sha256: upload("dataset", sha256),
        "job": as_teacher_of_a_job,
        "path": lambda sha256: jobs.create(
            {"teacher": {"weights": f"file:/home/a/{sha256[:2]}/{sha256}"}}
        ),
        "candidate": as_checkpoint,
        "artifact": as_export,
        "library": as_library,
    }
    return lambda kind, sha256: ways[kind](sha256)


KINDS = ["teacher", "dataset", "job", "path", "candidate", "artifact", "library"]


def test_what_nothing_names_is_collected(garbage, files, stored):
    gone = [stored("first"), stored("second!")]
    assert garbage.collect(DAY) == Collected(2, 12, 2, 12)
    assert not any(files.exists(each) for each in gone)
    assert garbage.collect(DAY) == Collected(0, 0, 0, 0)


def test_a_dry_run_tells_the_same_and_removes_nothing(garbage, files, stored, name):
    kept, gone = stored("kept"), stored("garbage")
    name("teacher", kept)
    assert garbage.collect(DAY, dry_run=True) == Collected(1, 7, 2, 11)
    assert files.exists(gone)
    assert garbage.collect(DAY) == Collected(1, 7, 2, 11)
    assert files.sizes() == {kept: 4}


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_row_names_stays(garbage, files, stored, name, kind):
    sha256 = stored("named")
    name(kind, sha256)
    assert garbage.collect(NONE).files == 0
    garbage.free([sha256])
    assert files.local_path(sha256).read_bytes() == b"named"


def test_what_is_younger_than_the_grace_stays(garbage, files, stored):
    sha256 = stored("an upload that is being checked", is_old=False)
    assert garbage.collect(DAY).files == 0
    assert files.exists(sha256)
    assert garbage.collect(NONE).files == 1


def test_what_was_stored_while_a_job_runs_stays(garbage, files, stored, jobs, job):
    before = stored("before")
    jobs.claim("worker", 60)
    meanwhile = stored("weights that the worker has not heard of yet", is_old=False)
    garbage.free([meanwhile])
    assert garbage.collect(NONE).files == 1
    assert files.exists(meanwhile)
    assert not files.exists(before)
    jobs.transition(job.id, JobStatus.FAILED, owner="worker")
    assert garbage.collect(NONE).files == 1
    assert not files.exists(meanwhile)


@pytest.fixture
def end_reader(jobs, job, library):
    """Ends a job that runs and draws on the library."""
    jobs.claim("reader", 60)
    jobs.update(job.id, owner="reader", library_id=library.id)
    return lambda: jobs.transition(job.id, JobStatus.FAILED, owner="reader")


def test_weights_that_were_replaced_stay_while_a_running_job_draws_on_the_library(
    garbage, files, stored, name, end_reader
):
    former, present = stored("former"), stored("present")
    for each in (former, present):
        name("library", each)
    garbage.free([former])
    assert garbage.collect(NONE).files == 0
    assert files.sizes() == {former: 6, present: 7}
    end_reader()
    assert garbage.collect(NONE).files == 1
    assert files.sizes() == {present: 7}


def test_what_was_replaced_is_forgotten_with_its_file(garbage, stored, libraries, library, name):
    former, present = stored("former"), stored("present")
    for each in (former, present):
        name("library", each)
    garbage.collect(NONE)
    assert libraries.delete(library.id) == {present}


def test_a_deleted_library_tells_the_weights_that_were_replaced_too(
    stored, libraries, library, name
):
    weights = {stored("former"), stored("present")}
    for each in weights:
        name("library", each)
    assert libraries.delete(library.id) == weights


def test_only_what_was_asked_for_is_freed(garbage, files, stored):
    first, second = stored("first"), stored("second")
    garbage.free([first])
    assert not files.exists(first)
    assert files.exists(second)


def test_very_many_are_freed_at_once(garbage, files, stored, name):
    kept = stored("kept")
    name("library", kept)
    many = [stored(f"garbage {number}") for number in range(3)]
    garbage.free([*many, kept, *(f"{number:064x}" for number in range(40_000))])
    assert files.sizes() == {kept: 4}


@pytest.mark.parametrize("kind", ["job", "candidate", "artifact"])
def test_a_deleted_job_tells_the_files_that_it_named(stored, jobs, job, name, kind):
    sha256 = stored("named")
    name(kind, sha256)
    assert jobs.delete(job.id) == {sha256}


def test_a_deleted_library_tells_the_files_that_it_named(stored, libraries, library, name):
    sha256 = stored("named")
    name("library", sha256)
    assert libraries.delete(library.id) == {sha256}


def test_a_file_that_two_name_goes_with_the_second(garbage, files, stored, jobs, job, name):
    sha256 = stored("shared")
    name("job", sha256)
    name("teacher", sha256)
    garbage.free(jobs.delete(job.id))
    assert files.exists(sha256)
    UploadStore(garbage._database, "teacher").delete(
        UploadStore(garbage._database, "teacher").page(1)[0][0].id
    )
    garbage.free([sha256])
    assert not files.exists(sha256)


def test_garbage_on_s3_is_collected(database, s3, tmp_path):
    files = FileStore(s3, cache=tmp_path)
    kept, _ = files.put_stream(io.BytesIO(b"kept"))
    files.put_stream(io.BytesIO(b"garbage"))
    UploadStore(database, "teacher").add("a", "a.pt", kept, 4, {})
    garbage = Garbage(database, files)
    assert garbage.collect(DAY).files == 0
    # The server tells whole seconds, of which this one may not be over.
    assert garbage.collect(-timedelta(seconds=5)) == Collected(1, 7, 2, 11)
    assert files.sizes() == {kept: 4}
    assert files.local_path(kept).read_bytes() == b"kept"
