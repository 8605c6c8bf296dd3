"""How a search goes on when its library, its time or its front changed while it was interrupted."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from pareconv.models.plan import Option, Plan
from pareconv.search.wanted import DIVERGED
from pareconv.storage.candidates import CandidateState
from pareconv.storage.job_states import JobStatus
from pareconv.storage.tables import CandidateRow, JobRow, LibraryEntryRow

SPEC = {"trials": 8, "repeats": 0}


def test_a_search_goes_on_where_the_library_gave_up_an_option_that_was_tried(home):
    """Another job may have taught it further and found it hopeless."""
    home.submit(search=SPEC | {"sampler": "random"})
    worker, executor = home.worker()
    executor.on_trial = lambda *_: len(executor.tried) == 4 and worker._ending.set()
    worker.work_once()
    ghost = Option.of("ghost")
    before = home.plans()
    assert any(ghost in plan.values() for plan in before)
    with home.stores.database.session() as session:
        given_up = update(LibraryEntryRow).where(LibraryEntryRow.option == str(ghost))
        session.execute(given_up.values(score=None, settled=True, loss=DIVERGED))
    home.worker()[0].work_once()
    assert home.job.status is JobStatus.SUCCEEDED
    assert home.plans()[: len(before)] == before
    assert len(home.plans()) == 8
    proposed = [each for each in home.candidates[len(before) + 1 :] if each.retry_of is None]
    assert all(ghost not in Plan.from_json(each.plan).values() for each in proposed)


def test_the_time_that_a_worker_was_gone_is_not_charged(home):
    home.submit(search=SPEC | {"time_limit_s": 1000})
    worker, executor = home.worker()

    def die(*_):
        if len(executor.tried) == 3:
            raise KeyboardInterrupt  # nothing catches it: as little is written as at a kill

    executor.on_trial = die
    with pytest.raises(KeyboardInterrupt):
        worker.work_once()
    with home.stores.database.session() as session:
        session.execute(update(JobRow).values(lease_expires_at=None))
        running = update(CandidateRow).where(CandidateRow.state == CandidateState.RUNNING)
        session.execute(running.values(created_at=datetime.now(UTC) - timedelta(hours=3)))
    home.worker()[0].work_once()
    assert len(home.plans()) == 8


def test_once_the_front_is_evaluated_again_no_other_plan_is_tried(home):
    """What was evaluated again got worse, so that it is another front, with newer members."""

    def measured(payload):
        if payload["attempt"]:
            worker._ending.set()
        return {"accuracy_stderr": 0.03}

    home.submit(budget={"flops": 1000}, search={"trials": 40, "repeats": 1, "patience": 3})
    worker, _ = home.worker(measured=measured)
    worker.work_once()
    before = len(home.candidates)
    worse = {"accuracy": 0.1, "accuracy_stderr": 0.03, "evaluations": 2}
    for each in home.stores.candidates.front(home.id):
        home.stores.candidates.reevaluate(home.id, each.number, **worse, compute=1.0, seconds=1.0)
    home.worker()[0].work_once()
    assert home.job.status is JobStatus.SUCCEEDED
    assert len(home.candidates) == before < 40
