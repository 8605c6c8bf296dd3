"""The schema: migrations and models agree, and Optuna's tables live beside ours."""

import optuna
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Column, Integer, Table, create_engine, inspect, text

from pareconv.storage.artifacts import ArtifactStore
from pareconv.storage.candidates import CandidateStore
from pareconv.storage.errors import SchemaMismatch
from pareconv.storage.events import EventStore
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


def move(database, direction, revision):
    """Bring the schema to a revision that is not the newest."""
    config = Config()
    config.set_main_option("script_location", "pareconv.storage:migrations")
    engine = create_engine(database.url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        direction(config, revision)
    engine.dispose()


# What a job left behind at revision 0001, with a candidate in each state.
ROWS_OF_0001 = """
INSERT INTO jobs (id, status, progress, spec, created_at, updated_at, claims, candidates_version)
VALUES ('a', 'succeeded', 1, '{"seed": 3}', :now, :now, 1, 4);
INSERT INTO job_events (job_id, level, type, message, data, created_at)
VALUES ('a', 'info', 'queued', 'waits', '{}', :now);
INSERT INTO candidates (job_id, number, state, plan, flops, adds, params, finalist, created_at)
VALUES ('a', 0, 'running', '{}', 1, 0, 1, false, :now),
       ('a', 1, 'failed', '{}', 1, 0, 1, false, :now);
INSERT INTO candidates (job_id, number, state, plan, flops, adds, params, accuracy, finalist,
    created_at)
VALUES ('a', 2, 'complete', '{"b": "shift"}', 1, 0, 1, 0.5, true, :now);
INSERT INTO artifacts (job_id, number, format, sha256, size_bytes, filename, created_at)
VALUES ('a', 2, 'pt2', 'c', 1, 'm.pt2', :now)
"""


@pytest.fixture
def database_of_0001(shared_database, new_database):
    database = new_database()
    move(database, command.upgrade, "0001")
    with database.session() as session:
        for statement in ROWS_OF_0001.split(";"):
            given = {"now": "2026-01-01 00:00:00.000000"} if ":now" in statement else {}
            session.execute(text(statement), given)
    return database


def test_what_an_older_version_stored_is_kept(database_of_0001):
    database = database_of_0001
    database.migrate()
    assert differences(database, Base.metadata) == []
    job = JobStore(database).get("a")
    assert (job.spec, job.library_id, job.extension) == ({"seed": 3}, None, None)
    assert (job.priority, job.worked_s, job.queued_at) == (0, 0, job.created_at)
    assert [event.type for event in EventStore(database).page("a")] == ["queued"]
    files = ArtifactStore(database).of_job("a")
    assert [(each.format, each.details) for each in files] == [("pt2", None)]
    candidates = CandidateStore(database).all("a")
    assert [each.evaluations for each in candidates] == [0, 0, 1]
    for each in candidates:
        assert (each.compute, each.predicted, each.rungs, each.wanted) == (None, None, [], None)
    assert (candidates[2].plan, candidates[2].accuracy) == ({"b": "shift"}, 0.5)


def test_what_hangs_on_a_job_still_goes_with_it_after_a_migration(database_of_0001):
    database = database_of_0001
    database.migrate()
    JobStore(database).delete("a")
    assert CandidateStore(database).all("a") == []
    assert ArtifactStore(database).of_job("a") == []


def test_the_way_back_keeps_what_the_older_version_knows(database_of_0001):
    database = database_of_0001
    database.migrate()
    move(database, command.downgrade, "0001")
    assert database.revision() == "0001"
    with database.session(read_only=True) as session:
        kept = [
            session.scalar(text(f"SELECT count(*) FROM {table}"))
            for table in ("jobs", "job_events", "candidates", "artifacts")
        ]
    assert kept == [1, 1, 3, 1]
    database.migrate()
    assert differences(database, Base.metadata) == []


def test_models_and_migrations_agree(new_database):
    database = new_database()
    database.migrate()
    assert differences(database, Base.metadata) == []


def test_a_table_without_migration_is_noticed(database):
    metadata = type(Base.metadata)()
    for table in Base.metadata.sorted_tables:
        table.to_metadata(metadata)
    Table("visitors", metadata, Column("id", Integer, primary_key=True))
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
