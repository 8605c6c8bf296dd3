"""Several processes on one database: nothing is owned, numbered or migrated twice."""

import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

from pareconv.storage.candidates import CandidateStore
from pareconv.storage.jobs import JobStatus

PROCESSES = 3


@pytest.fixture
def race(tmp_path):
    """Runs a command of child.py in several processes that start together; their lines."""

    def run(command, url, arguments):
        gate = tmp_path / "gate"
        child = [sys.executable, str(Path(__file__).with_name("child.py")), command, url, str(gate)]
        started = [
            subprocess.Popen(
                [*child, argument], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for argument in arguments
        ]
        for process in started:
            assert process.stderr.readline() == "ready\n"
        gate.touch()
        outcomes = [(*process.communicate(), process.returncode) for process in started]
        assert [(err, code) for _, err, code in outcomes] == [("", 0)] * len(started)
        return [out.split() for out, _, _ in outcomes]

    return run


def test_no_job_is_claimed_twice(shared_database, jobs, race):
    ids = [jobs.create({"n": n})[0].id for n in range(60)]
    owners = [f"worker-{n}" for n in range(PROCESSES)]
    claimed = race("claim", shared_database.url, owners)
    assert sorted(chain(*claimed)) == ids
    for owner, own in zip(owners, claimed, strict=True):
        for id in own:
            found = jobs.get(id)
            assert (found.lease_owner, found.claims) == (owner, 1)
            assert found.status is JobStatus.RUNNING


def test_candidates_are_numbered_without_gap_or_double(shared_database, job, race):
    numbers = race("number", shared_database.url, [job.id] * PROCESSES)
    assert sorted(int(n) for n in chain(*numbers)) == list(range(25 * PROCESSES))
    stored = CandidateStore(shared_database).all(job.id)
    assert [candidate.number for candidate in stored] == list(range(25 * PROCESSES))


def test_a_library_is_made_once_and_built_by_one(shared_database, libraries, race):
    owners = [f"worker-{n}" for n in range(PROCESSES)]
    opened = race("open", shared_database.url, owners)
    made = sorted(library.id for library in libraries.page(100)[0])
    assert len(made) == 10
    for own in opened:
        assert sorted(line.partition(":")[0] for line in own) == made
    won = [line for line in chain(*opened) if line.endswith(":True")]
    assert sorted(line.partition(":")[0] for line in won) == made


def test_processes_that_start_together_migrate_once(shared_database, backend, race):
    revisions = race("migrate", backend.new_url(), [""] * PROCESSES)
    assert revisions == [[shared_database.revision()]] * PROCESSES
