"""What is found of jobs when all is quiet again: candidates, Optuna's trials and files, held
against each other.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import TrialState

from benchmarks.deployment import spec
from pareconv.search.stores import Stores
from pareconv.storage.candidates import Candidate, CandidateState
from pareconv.storage.errors import StorageError
from pareconv.storage.files import FileStore
from pareconv.storage.job_states import JobStatus
from pareconv.storage.jobs import Job
from pareconv.storage.settings import Settings

Plan = tuple[tuple[str, str], ...]

_STATES = {
    CandidateState.COMPLETE: TrialState.COMPLETE,
    CandidateState.STOPPED: TrialState.PRUNED,
    CandidateState.FAILED: TrialState.FAIL,
}
_ENDED_WELL = {CandidateState.COMPLETE, CandidateState.STOPPED}


@dataclass
class Tally:
    """What is found when all is quiet again."""

    jobs: int = 0
    jobs_not_succeeded: int = 0
    trials: int = 0
    trials_lost: int = 0
    trials_given_up: int = 0
    trials_doubled: int = 0
    trials_repeated: int = 0
    disagreements: list[str] = field(default_factory=list)


def tally_of(stores: Stores, settings: Settings, jobs: list[str]) -> Tally:
    """Hold candidates, Optuna's trials and artifacts of all jobs against each other."""
    tally = Tally(jobs=len(jobs))
    files = FileStore.of(settings)
    storage = optuna.storages.RDBStorage(stores.database.url)
    for job in map(stores.jobs.get, jobs):
        if job.status is not JobStatus.SUCCEEDED:
            tally.jobs_not_succeeded += 1
            tally.disagreements.append(f"job {job.id} {job.status} in {job.stage}: {job.error}")
        candidates = stores.candidates.all(job.id)
        well = [each for each in candidates if each.state in _ENDED_WELL]
        plans = Counter(map(_plan, well))
        tally.trials += len(well)
        tally.trials_repeated += len(candidates) - len(well)
        tally.trials_given_up += _given_up(candidates, plans)
        tally.trials_lost += max(
            0, spec(0)["search"]["trials"] - len(well) - _given_up(candidates, plans)
        )
        tally.trials_doubled += sum(number - 1 for number in plans.values())
        tally.disagreements += [
            f"job {job.id}: {each}"
            for each in (
                *_of_candidates(job, candidates),
                *_of_trials(job, candidates, storage),
                *_of_files(job, candidates, stores, files),
            )
        ]
    storage.remove_session()
    storage.engine.dispose()
    return tally


def _given_up(candidates: list[Candidate], well: Counter[Plan]) -> int:
    """Plans whose process died twice, as is the rule; each death is a candidate of its own."""
    deaths = Counter(_plan(each) for each in candidates if each.state is CandidateState.FAILED)
    return sum(number > 1 and plan not in well for plan, number in deaths.items())


def _plan(candidate: Candidate) -> Plan:
    return tuple(sorted(candidate.plan.items()))


def _of_candidates(job: Job, candidates: list[Candidate]) -> Iterator[str]:
    if [each.number for each in candidates] != list(range(len(candidates))):
        yield "its candidates have gaps"
    if any(each.state is CandidateState.RUNNING for each in candidates):
        yield "a candidate still runs"
    if job.lease_owner is not None:
        yield "somebody still has its lease"


def _of_trials(job: Job, candidates: list[Candidate], storage: Any) -> Iterator[str]:
    (study,) = [
        each for each in optuna.get_all_study_summaries(storage) if job.id in each.study_name
    ]
    trials = optuna.load_study(study_name=study.study_name, storage=storage).trials
    if len(trials) != len(candidates):
        yield f"{len(trials)} trials for {len(candidates)} candidates"
    for trial, candidate in zip(trials, candidates, strict=False):
        if trial.state is not _STATES.get(candidate.state):
            yield f"trial {trial.number} is {trial.state.name}, its candidate {candidate.state}"
        elif trial.values is not None and trial.values[0] != candidate.accuracy:
            yield f"trial {trial.number} has another accuracy than its candidate"


def _of_files(
    job: Job, candidates: list[Candidate], stores: Stores, files: FileStore
) -> Iterator[str]:
    formats = set(spec(0)["finish"]["formats"])
    of_job = stores.artifacts.of_job(job.id)
    for candidate in candidates:
        artifacts = [each for each in of_job if each.number == candidate.number]
        found = {each.format for each in artifacts}
        if candidate.finalist and not formats <= found:
            yield f"finalist {candidate.number} has no {formats - found}"
        if found and not candidate.finalist:
            yield f"candidate {candidate.number} has files and is no finalist"
        for sha256 in [*(each.sha256 for each in artifacts), candidate.checkpoint]:
            try:
                if sha256 is not None:
                    files.local_path(sha256)  # the hash is checked
            except StorageError as error:
                yield str(error)
