"""A job that is given trials which were never made: the rows that they would have left."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from random import Random
from typing import Any

from optuna.storages._rdb import models
from sqlalchemy import create_engine, insert

from benchmarks import standin
from pareconv.models.plan import Plan
from pareconv.search.mirror import Mirror
from pareconv.search.proposals import Problem
from pareconv.storage.candidate_states import CandidateState
from pareconv.storage.candidates import Candidate, CandidateStore
from pareconv.storage.database import Database
from pareconv.storage.tables import CandidateRow

Row = dict[str, Any]


def fill(url: str, job: str, number: int) -> None:
    """So many complete candidates of random plans, and their trials in the dashboard's study."""
    database = Database(url)
    table = standin.table()
    problem = Problem(table, {"flops": 60_000}, "flops", "tpe", number, 0)
    began = datetime.now(UTC) - timedelta(days=1)
    plans = islice(_plans(problem), number)
    rows = [_candidate(job, place, plan, problem, began) for place, plan in enumerate(plans)]
    with database.session() as session:
        session.execute(insert(CandidateRow), rows)
    candidates = CandidateStore(database).all(job)
    database.close()
    with Mirror(url, f"{standin.ARCHITECTURE} ({job})", problem) as mirror:
        _mirror(url, mirror, candidates)


def _plans(problem: Problem) -> Any:
    """Within the budget, each once."""
    chance, found = Random(0), set()
    changes = problem.table.changes
    for _ in count():
        plan = Plan({block: chance.choice(list(changes[block])) for block in changes})
        if plan not in found and problem.fits(plan):
            found.add(plan)
            yield plan


def _candidate(job: str, number: int, plan: Plan, problem: Problem, began: datetime) -> Row:
    measured = standin.measured(plan, 0.0)
    reason = measured.pop("reason")
    cost = problem.table.cost(plan)
    moment = began + timedelta(seconds=number)
    return measured | {
        "job_id": job,
        "number": number,
        "state": CandidateState.COMPLETE,
        "plan": plan.to_json(),
        "flops": cost.flops,
        "adds": cost.adds,
        "params": cost.params,
        "evaluations": 1,
        "reason": reason,
        "finalist": False,
        "latencies": [],
        "created_at": moment,
        "finished_at": moment,
    }


def _mirror(url: str, mirror: Mirror, candidates: Sequence[Candidate]) -> None:
    """As `Mirror.sync` leaves it, which takes a statement for each value."""
    study = mirror._study._study_id
    engine = create_engine(url)
    with engine.begin() as connection:
        for place, candidate in enumerate(candidates):
            trial = mirror._trial(candidate)
            values = {
                "number": place,
                "study_id": study,
                "state": trial.state,
                "datetime_start": trial.datetime_start,
                "datetime_complete": trial.datetime_complete,
            }
            done = connection.execute(insert(models.TrialModel).values(values))
            (id,) = done.inserted_primary_key
            _insert(connection, models.TrialValueModel, id, _values(trial))
            _insert(connection, models.TrialParamModel, id, _params(trial))
            for model, found in (
                (models.TrialUserAttributeModel, trial.user_attrs),
                (models.TrialSystemAttributeModel, trial.system_attrs),
            ):
                texts = [{"key": key, "value_json": json.dumps(found[key])} for key in found]
                _insert(connection, model, id, texts)
    engine.dispose()


def _insert(connection: Any, model: Any, trial: int, rows: Sequence[Row]) -> None:
    if rows:
        connection.execute(insert(model), [{"trial_id": trial} | row for row in rows])


def _values(trial: Any) -> list[Row]:
    kind = models.TrialValueModel.TrialValueType.FINITE
    return [
        {"objective": place, "value": value, "value_type": kind}
        for place, value in enumerate(trial.values)
    ]


def _params(trial: Any) -> list[Row]:
    from optuna.distributions import distribution_to_json

    return [
        {
            "param_name": name,
            "param_value": trial.distributions[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(trial.distributions[name]),
        }
        for name, value in trial.params.items()
    ]
