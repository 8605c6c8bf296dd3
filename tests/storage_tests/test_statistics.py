"""Statistics: counts and times over all jobs, as monitoring reads them."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from pareconv.storage.candidates import CandidateState, CandidateStore
from pareconv.storage.jobs import JobStatus, Stage
from pareconv.storage.statistics import StatisticsStore
from pareconv.storage.tables import CandidateRow, JobRow

LONG = 60.0


@pytest.fixture
def read(database):
    return StatisticsStore(database).read


def earlier(database, row, column, seconds, **where):
    """Move a time into the past."""
    with database.session() as session:
        moment = database.now(session) - timedelta(seconds=seconds)
        session.execute(update(row).filter_by(**where).values({column: moment}))


def test_an_empty_database_counts_nothing(read):
    found = read()
    assert found.jobs == dict.fromkeys(JobStatus, 0)
    assert found.trials == found.ended == dict.fromkeys(CandidateState, 0)
    assert (found.seconds, found.times, found.oldest_wait_s) == ({}, {}, 0)
    assert found.workers == []


def test_jobs_and_trials_are_counted_by_state(database, jobs, read):
    ids = [jobs.create({})[0].id for _ in range(3)]
    jobs.claim("w", LONG)
    candidates = CandidateStore(database)
    for number in range(3):
        candidates.create(ids[0], {"a": str(number)}, flops=1, adds=0, params=1)
    for number in (0, 1):
        candidates.fail(ids[0], number, "diverged")
    earlier(database, CandidateRow, "finished_at", 3700, number=1)
    found = read()
    assert (found.jobs[JobStatus.QUEUED], found.jobs[JobStatus.RUNNING]) == (2, 1)
    assert found.trials[CandidateState.RUNNING] == 1
    assert found.trials[CandidateState.FAILED] == 2
    assert found.ended[CandidateState.FAILED] == 1


def test_waiting_is_counted_each_time_that_a_job_leaves_the_queue(database, jobs, job, read):
    earlier(database, JobRow, "queued_at", 100)
    assert read().oldest_wait_s == pytest.approx(100, abs=30)
    jobs.claim("w", LONG)
    found = read()
    assert found.oldest_wait_s == 0
    assert (found.times, found.seconds["queue"]) == ({"queue": 1}, pytest.approx(100, abs=30))
    jobs.transition(job.id, JobStatus.FAILED, owner="w")
    jobs.resume(job.id)
    jobs.claim("w", LONG)
    again = read()
    assert again.times["queue"] == 2
    assert again.seconds["queue"] == pytest.approx(100, abs=30)


def test_a_job_tells_where_its_own_time_went(database, jobs, job):
    assert jobs.times(job.id) == {}
    earlier(database, JobRow, "queued_at", 100)
    jobs.claim("w", LONG)
    earlier(database, JobRow, "renewed_at", 500)
    jobs.update(job.id, owner="w", stage=Stage.LIBRARY)
    assert jobs.times(job.id) == pytest.approx({"queue": 100, "profile": 500}, abs=30)


def test_work_is_counted_for_the_stage_that_it_was_done_in(database, jobs, job, read):
    jobs.claim("w", LONG)
    for stage, seconds in ((Stage.LIBRARY, 500), (Stage.SEARCH, 300), (None, 200)):
        earlier(database, JobRow, "renewed_at", seconds)
        if stage is None:
            jobs.renew(job.id, "w", LONG)
        else:
            jobs.update(job.id, owner="w", stage=stage)
    seconds = read().seconds
    assert seconds["profile"] == pytest.approx(500, abs=30)
    assert seconds["library"] == pytest.approx(300, abs=30)
    assert seconds["search"] == pytest.approx(200, abs=30)
    assert jobs.get(job.id).worked_s == pytest.approx(1000, abs=60)


def test_while_nobody_has_a_job_no_work_is_counted(database, jobs, job, read):
    jobs.claim("w", LONG)
    jobs.release(job.id, "w")
    earlier(database, JobRow, "renewed_at", 500)
    jobs.claim("v", LONG)
    jobs.renew(job.id, "v", LONG)
    assert jobs.get(job.id).worked_s < 100
    assert read().seconds["profile"] < 100


def test_times_go_with_their_job(jobs, job, read):
    jobs.claim("w", LONG)
    jobs.transition(job.id, JobStatus.FAILED, owner="w")
    jobs.delete(job.id)
    assert read().seconds == {}
