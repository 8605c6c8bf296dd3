"""Studies: found by the job that their name ends with, and forgotten with it, on every database."""

from collections.abc import Iterator

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import BaseModel
from sqlalchemy import text

from pareconv.storage.database import Database
from pareconv.storage.jobs import JobStore
from pareconv.storage.studies import study_of

OPTUNA = set(BaseModel.metadata.tables) - {"version_info"}


@pytest.fixture
def storage(shared_database: Database) -> Iterator[RDBStorage]:
    opened = RDBStorage(shared_database.url)
    yield opened
    for summary in optuna.get_all_study_summaries(opened):
        optuna.delete_study(study_name=summary.study_name, storage=opened)
    opened.remove_session()
    opened.engine.dispose()


def rows_of_optuna(database: Database) -> dict[str, int]:
    with database.session(read_only=True) as session:
        return {name: session.scalar(text(f"SELECT count(*) FROM {name}")) or 0 for name in OPTUNA}


def search(storage: RDBStorage, name: str) -> None:
    """A study in which every table of Optuna has a row."""
    study = optuna.create_study(study_name=name, storage=storage)
    study.set_user_attr("of", "a user")
    study._storage.set_study_system_attr(study._study_id, "of", "the system")
    trial = study.ask({"width": optuna.distributions.IntDistribution(1, 8)})
    trial.set_user_attr("of", "a user")
    trial.report(0.5, 0)
    study._storage.set_trial_system_attr(trial._trial_id, "of", "the system")
    study._storage.record_heartbeat(trial._trial_id)
    study.tell(trial, 0.5)


def test_there_is_none_before_a_search(database: Database) -> None:
    assert study_of(database, "a-job") is None


def test_it_is_found_by_the_job_in_its_name(shared_database: Database, storage: RDBStorage) -> None:
    for name in ("mine (first)", "100% (second)", "third"):
        optuna.create_study(study_name=name, storage=storage)
    assert study_of(shared_database, "first") == storage.get_study_id_from_name("mine (first)")
    assert study_of(shared_database, "second") is not None
    assert study_of(shared_database, "third") is None


def test_it_is_forgotten_with_its_job_and_no_other_is(
    shared_database: Database, storage: RDBStorage
) -> None:
    jobs = JobStore(shared_database)
    kept, job = (jobs.create({}, name=name)[0] for name in ("kept", "deleted"))
    search(storage, f"kept ({kept.id})")
    before = rows_of_optuna(shared_database)
    assert all(before.values()), "every table of Optuna's has a row to delete"
    search(storage, f"deleted ({job.id})")

    jobs.delete(job.id)

    assert rows_of_optuna(shared_database) == before
    assert study_of(shared_database, kept.id) is not None


def test_a_job_that_never_searched_has_none_to_forget(database: Database) -> None:
    jobs = JobStore(database)
    jobs.delete(jobs.create({}, name="early")[0].id)
