"""The mirror: the candidates as an Optuna study in the database, for the dashboard.

Never read back.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, Self

import optuna
from optuna.storages import RDBStorage, get_storage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import OperationalError

from pareconv.models.plan import Plan
from pareconv.search.proposals import Problem
from pareconv.storage.candidate_states import CandidateState
from pareconv.storage.candidates import Candidate
from pareconv.storage.errors import Unavailable

_STATES = {
    CandidateState.COMPLETE: TrialState.COMPLETE,
    CandidateState.STOPPED: TrialState.PRUNED,
    CandidateState.FAILED: TrialState.FAIL,
}


class Mirror:
    """One study, its trials numbered as the candidates; made anew whenever it does not agree.

    Has connections of its own, which leaving its context closes. Raises Unavailable when the
    database does not answer.
    """

    def __init__(self, database_url: str, name: str, problem: Problem) -> None:
        self._problem = problem
        self._name = name
        self._length = 0
        with _translated():
            self._database = _storage(database_url)
            self._storage = get_storage(self._database)
            self._study = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._storage.remove_session()
        self._database.engine.dispose()

    def sync(self, candidates: Sequence[Candidate]) -> None:
        """Append the candidates that ended, in the order of their numbers, up to the first that
        runs.
        """
        with _translated():
            self._sync(candidates)

    def _sync(self, candidates: Sequence[Candidate]) -> None:
        if not self._agrees(candidates):
            with suppress(KeyError):  # somebody deleted it
                optuna.delete_study(study_name=self._name, storage=self._storage)
            self._study = self._open()
        self._length = len(self._study.get_trials(deepcopy=False))
        while self._append(candidates):
            pass

    def follow(self, candidates: Sequence[Candidate]) -> bool:
        """Append one more candidate; False where none that ended is missing.

        It does not look at what is there already, which would take longer the more there is:
        `sync` makes good whatever somebody changed.
        """
        try:
            with _translated():
                return self._append(candidates)
        except KeyError:  # somebody deleted it
            self.sync(candidates)
            return False

    def _append(self, candidates: Sequence[Candidate]) -> bool:
        if self._length == len(candidates):
            return False
        candidate = candidates[self._length]
        if candidate.state is CandidateState.RUNNING:
            return False
        self._study.add_trial(self._trial(candidate))
        self._length += 1
        return True

    def _agrees(self, candidates: Sequence[Candidate]) -> bool:
        """Whether each trial is of the candidate of its number, known by the moment it began, and
        shows the accuracy that it has now.
        """
        try:
            trials = self._study.get_trials(deepcopy=False)
        except KeyError:
            return False
        return len(trials) <= len(candidates) and all(
            trial.datetime_start == _local(candidate.created_at)
            and (trial.values is None or trial.values[0] == candidate.accuracy)
            for trial, candidate in zip(trials, candidates, strict=False)
        )

    def _open(self) -> optuna.Study:
        study = optuna.create_study(
            study_name=self._name,
            storage=self._storage,
            directions=["maximize", "minimize"],
            load_if_exists=True,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(["validation accuracy", self._problem.objective])
        return study

    def _trial(self, candidate: Candidate) -> FrozenTrial:
        plan = Plan.from_json(candidate.plan)
        cost = self._problem.table.cost(plan)
        is_complete = candidate.state is CandidateState.COMPLETE
        trial = create_trial(
            state=_STATES[candidate.state],
            params=self._problem.params_of(plan),
            distributions=self._problem.distributions,
            values=[candidate.accuracy, cost.quantity(self._problem.objective)]  # type: ignore[list-item]
            if is_complete
            else None,
            user_attrs=_attributes(candidate),
            constraints=self._problem.constraints(cost, candidate.accuracy),
        )
        trial.datetime_start = _local(candidate.created_at)
        trial.datetime_complete = _local(candidate.finished_at or candidate.created_at)
        return trial


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, optuna.exceptions.StorageInternalError) as error:
        raise Unavailable(f"Optuna's tables cannot be written: {error}") from error


def _storage(url: str) -> RDBStorage:
    if url.startswith("sqlite"):
        return RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 30}})
    return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})


def _attributes(candidate: Candidate) -> dict[str, Any]:
    shown = ("flops", "adds", "params", "accuracy_stderr", "loss", "images", "reason", "retry_of")
    values = {name: getattr(candidate, name) for name in shown}
    return {name: value for name, value in values.items() if value is not None}


def _local(moment: datetime) -> datetime:
    """As Optuna keeps times: local, without a zone."""
    return moment.astimezone().replace(tzinfo=None)
