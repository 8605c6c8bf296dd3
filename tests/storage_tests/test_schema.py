"""The schema: migrations and models agree, and Optuna's tables live beside ours."""

import optuna
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, Integer, Table, create_engine, inspect, text

from pareconv.storage.errors import SchemaMismatch
from pareconv.storage.jobs import JobStore
from pareconv.storage.schema import VERSION_TABLE, is_ours
from pareconv.storage.tables import Base


def differences(database, metadata):
    options = {"version_table": VERSION_TABLE, "include_object": is_ours}
    with database.session(read_only=True) as session:
        context = MigrationContext.configure(session.connection(), opts=options)
        return compare_metadata(context, metadata)


def add_optuna(database):
    """A study in the same database, with one trial; returns how to read its values again."""
    storage = optuna.storages.RDBStorage(database.url)
    study = optuna.create_study(storage=storage, study_name="plans", directions=["maximize"] * 2)
    study.tell(study.ask({"block": optuna.distributions.FloatDistribution(0, 1)}), [0.5, 0.25])
    return storage, lambda: optuna.load_study(study_name="plans", storage=storage).trials[0].values


def test_models_and_migrations_agree(new_database):
    database = new_database()
    database.migrate()
    assert differences(database, Base.metadata) == []


def test_a_table_without_migration_is_noticed(database):
    metadata = type(Base.metadata)()
    for table in Base.metadata.sorted_tables:
        table.to_metadata(metadata)
    Table("libraries", metadata, Column("id", Integer, primary_key=True))
    assert [kind for kind, *_ in differences(database, metadata)] == ["add_table"]


def test_migrating_again_changes_nothing(database, job):
    before = database.revision()
    database.migrate()
    assert database.revision() == before
    assert JobStore(database).get(job.id) == job


def test_a_new_database_has_no_revision(new_database):
    assert new_database().revision() is None


def test_a_newer_schema_is_refused_with_the_remedy(new_database):
    database = new_database()
    database.migrate()
    with database.session() as session:
        session.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = 'from_the_future'"))
    with pytest.raises(SchemaMismatch, match=r"from_the_future.*upgrade pareconv"):
        database.migrate()
    assert database.revision() == "from_the_future"


def test_optuna_lives_in_the_same_database(shared_database, new_database):
    database = new_database()
    storage, values = add_optuna(database)
    database.migrate()
    job, _ = JobStore(database).create({})
    assert JobStore(database).get(job.id) == job
    assert values() == [0.5, 0.25]
    assert differences(database, Base.metadata) == []
    storage.engine.dispose()


def test_optuna_joins_a_migrated_database(shared_database, new_database):
    database = new_database()
    database.migrate()
    storage, values = add_optuna(database)
    database.migrate()
    assert values() == [0.5, 0.25]
    engine = create_engine(database.url)
    assert {"jobs", "trials", VERSION_TABLE, "alembic_version"} <= {
        *inspect(engine).get_table_names()
    }
    engine.dispose()
    storage.engine.dispose()
