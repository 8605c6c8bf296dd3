import secrets
from contextlib import ExitStack

import optuna
import psutil
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from pareconv.models.plan import Option, Plan
from pareconv.search.mirror import Mirror
from pareconv.search.proposals import Problem
from pareconv.storage.candidates import CandidateStore
from pareconv.storage.database import Database
from pareconv.storage.jobs import JobStore

GHOST, SVD = Option.of("ghost"), Option.of("svd", ratio=0.25)
PLANS = [
    Plan({"a": GHOST}),
    Plan({"b": SVD}),
    Plan({"a": SVD, "c": GHOST}),
    Plan({"c": SVD}),
    Plan({"a": GHOST, "b": GHOST}),
]


@pytest.fixture
def problem(table):
    return Problem(table, {"flops": 700, "params": 800}, "flops", "tpe", 10, 0)


@pytest.fixture
def database(shared_url):
    database = Database(shared_url)
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def tried(database, table):
    """Adds candidates of a job to the database; gives all of them."""
    job = JobStore(database).create({"name": "digits"})[0].id
    store = CandidateStore(database)

    def add(plan, outcome, **values):
        candidate = store.create(job, plan.to_json(), **table.cost(plan).to_json(), **values)
        match outcome:
            case float():
                store.complete(
                    job,
                    candidate.number,
                    accuracy=outcome,
                    accuracy_stderr=0.01,
                    loss=0.5,
                    seconds=2.0,
                    images=100,
                    checkpoint=None,
                )
            case str():
                store.fail(job, candidate.number, outcome)
        return store.all(job)

    add.store, add.job = store, job
    return add


@pytest.fixture
def name():
    return f"digits ({secrets.token_hex(4)})"


@pytest.fixture
def studies(database):
    """The studies in the database, as the dashboard reads them."""
    storage = RDBStorage(database.url)
    yield storage
    storage.remove_session()
    storage.engine.dispose()


@pytest.fixture
def trials_in(studies, name):
    return lambda: optuna.load_study(study_name=name, storage=studies).trials


@pytest.fixture
def new_mirror(database, problem, name):
    with ExitStack() as stack:
        yield lambda name=name: stack.enter_context(Mirror(database.url, name, problem))


def test_the_study_shows_what_was_tried(tried, trials_in, new_mirror):
    tried(PLANS[0], 0.75)
    tried(PLANS[1], "the loss became nan")
    new_mirror().sync(tried(PLANS[2], 0.5))
    first, second, third = trials_in()
    assert [trial.number for trial in (first, second, third)] == [0, 1, 2]
    assert first.state is third.state is TrialState.COMPLETE
    assert second.state is TrialState.FAIL
    assert first.params == {"a": "ghost", "b": "keep", "c": "keep"}
    assert third.params == {"a": "svd(ratio=0.25)", "b": "keep", "c": "ghost"}
    assert first.values == [0.75, 800]
    assert second.values is None
    assert second.user_attrs["reason"] == "the loss became nan"
    assert first.user_attrs["flops"] == 800
    assert first.user_attrs["params"] == 850


def test_every_trial_says_how_far_over_the_budget_it_is(tried, trials_in, new_mirror, problem):
    tried(PLANS[0], 0.75)
    new_mirror().sync(tried(PLANS[1], "no memory"))
    for trial, plan in zip(trials_in(), PLANS, strict=False):
        cost = problem.table.cost(plan)
        assert trial.constraints == {
            "flops": pytest.approx(cost.flops / 700 - 1),
            "params": pytest.approx(cost.params / 800 - 1),
        }


def test_both_objectives_have_names_and_directions(new_mirror, studies, name):
    new_mirror()
    study = optuna.load_study(study_name=name, storage=studies)
    assert study.metric_names == ["validation accuracy", "flops"]
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]


def test_a_trial_has_the_times_of_its_candidate(tried, trials_in, new_mirror):
    (candidate,) = tried(PLANS[0], 0.75)
    new_mirror().sync([candidate])
    (trial,) = trials_in()
    assert trial.datetime_start.timestamp() == pytest.approx(candidate.created_at.timestamp())
    assert trial.datetime_complete.timestamp() == pytest.approx(candidate.finished_at.timestamp())


def test_a_running_candidate_waits_and_so_do_those_after_it(tried, trials_in, new_mirror, problem):
    mirror = new_mirror()
    tried(PLANS[0], 0.5)
    tried(PLANS[1], None)
    mirror.sync(tried(PLANS[2], 0.75))
    assert [trial.number for trial in trials_in()] == [0]
    tried.store.fail(tried.job, 1, "cancelled")
    mirror.sync(tried.store.all(tried.job))
    assert [trial.state.name for trial in trials_in()] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert trials_in()[2].values == [0.75, problem.table.cost(PLANS[2]).flops]


def test_another_worker_goes_on_with_the_same_study(tried, trials_in, new_mirror):
    new_mirror().sync(tried(PLANS[0], 0.5))
    new_mirror().sync(tried(PLANS[1], 0.75))
    assert [trial.values[0] for trial in trials_in()] == [0.5, 0.75]


def test_syncing_twice_changes_nothing(tried, trials_in, new_mirror):
    mirror, candidates = new_mirror(), tried(PLANS[0], 0.5)
    mirror.sync(candidates)
    mirror.sync(candidates)
    assert len(trials_in()) == 1


def test_the_plan_tried_once_more_names_the_first_try(tried, trials_in, new_mirror):
    tried(PLANS[0], "stopped: its worker went away")
    new_mirror().sync(tried(PLANS[0], 0.5, retry_of=0))
    assert trials_in()[1].user_attrs["retry_of"] == 0


def test_a_study_with_too_many_trials_is_made_anew(tried, trials_in, new_mirror):
    candidates = tried(PLANS[0], 0.5)
    new_mirror().sync([*candidates, *candidates])
    assert len(trials_in()) == 2
    new_mirror().sync(candidates)
    assert [trial.values[0] for trial in trials_in()] == [0.5]


def test_a_study_with_other_trials_is_made_anew(tried, trials_in, new_mirror):
    """As many as there should be, but one doubled by a worker that had lost the job."""
    tried(PLANS[0], 0.5)
    first, second = tried(PLANS[1], 0.75)
    mirror = new_mirror()
    mirror.sync([first, first])
    mirror.sync([first, second])
    assert [trial.values[0] for trial in trials_in()] == [0.5, 0.75]


def test_a_candidate_that_was_evaluated_again_shows_its_mean(tried, trials_in, new_mirror):
    mirror = new_mirror()
    mirror.sync(tried(PLANS[0], 0.5))
    again = {"accuracy": 0.625, "accuracy_stderr": 0.01, "evaluations": 2}
    tried.store.reevaluate(tried.job, 0, compute=1.0, seconds=1.0, **again)
    mirror.sync(tried(PLANS[1], 0.75))
    assert [trial.values[0] for trial in trials_in()] == [0.625, 0.75]


def test_it_follows_in_the_order_of_the_numbers(tried, trials_in, new_mirror):
    mirror = new_mirror()
    mirror.sync(tried(PLANS[0], 0.5))
    assert not mirror.follow(tried(PLANS[1], None))
    assert not mirror.follow(tried(PLANS[2], 0.75))
    assert [trial.values[0] for trial in trials_in()] == [0.5]
    tried.store.fail(tried.job, 1, "nan")
    candidates = tried(PLANS[3], 0.25)
    assert [mirror.follow(candidates) for _ in range(4)] == [True, True, True, False]
    assert [trial.state.name for trial in trials_in()] == ["COMPLETE", "FAIL", *["COMPLETE"] * 2]


def test_whoever_follows_makes_a_study_anew_that_somebody_deleted(
    tried, trials_in, new_mirror, studies, name
):
    mirror = new_mirror()
    mirror.sync(tried(PLANS[0], 0.5))
    optuna.delete_study(study_name=name, storage=studies)
    mirror.follow(tried(PLANS[1], 0.75))
    assert [trial.values[0] for trial in trials_in()] == [0.5, 0.75]


def test_a_study_that_somebody_deleted_is_made_anew(tried, trials_in, new_mirror, studies, name):
    mirror = new_mirror()
    mirror.sync(tried(PLANS[0], 0.5))
    optuna.delete_study(study_name=name, storage=studies)
    mirror.sync(tried(PLANS[1], 0.75))
    assert [trial.values[0] for trial in trials_in()] == [0.5, 0.75]


def test_the_studies_of_two_jobs_are_apart(tried, trials_in, new_mirror):
    new_mirror("other (j2)").sync(tried(PLANS[0], 0.5))
    new_mirror()
    assert trials_in() == []


def test_a_mirror_leaves_no_connection_open(shared_url, problem, name):
    before = open_files_and_sockets()
    with Mirror(shared_url, name, problem) as mirror:
        mirror.sync([])
        assert open_files_and_sockets() > before
    assert open_files_and_sockets() == before


def open_files_and_sockets():
    process = psutil.Process()
    return len(process.open_files()) + len(process.net_connections())
