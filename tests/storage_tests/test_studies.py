"""Studies: found by the job that their name ends with, on every database."""

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import text

from pareconv.storage.studies import study_of


def test_there_is_none_before_a_search(database):
    assert study_of(database, "a-job") is None


def test_it_is_found_by_the_job_in_its_name(shared_database):
    storage = RDBStorage(shared_database.url)
    try:
        for name in ("mine (first)", "100% (second)", "third"):
            optuna.create_study(study_name=name, storage=storage)
        assert study_of(shared_database, "first") == storage.get_study_id_from_name("mine (first)")
        assert study_of(shared_database, "second") is not None
        assert study_of(shared_database, "third") is None
    finally:
        storage.remove_session()
        storage.engine.dispose()
        with shared_database.session() as session:
            for table in ("study_directions", "studies"):
                session.execute(text(f"DELETE FROM {table}"))
