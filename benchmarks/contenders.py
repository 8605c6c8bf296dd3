"""The contenders of the search benchmark: each makes a student within a budget of FLOPs, for the
same compute, counted in forward passes of one image through the teacher.

An image forward through a network counts that network's FLOPs over the teacher's; training on it
three times that. All are finished by the same distillation, with the compute that is left.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import jobs
from benchmarks.peers.pruned import Pruned
from benchmarks.setting import spec
from pareconv.models.cost import count
from pareconv.models.rewriting import rewrite
from pareconv.search.checkpoints import restore_weights
from pareconv.search.evaluation import evaluate, recalibrate
from pareconv.search.finishing import EXAMS, polish
from pareconv.search.proposals import uniform_plans
from pareconv.search.run import Profiled
from pareconv.search.study import problem_of
from pareconv.search.trial import Trial, assemble, run_trial
from pareconv.search.workbench import Workbench
from pareconv.storage.candidate_states import CandidateState
from pareconv.storage.files import FileStore

Row = dict[str, Any]

_SHAPE = (1, 3, 32, 32)
_VIEWS = 20_000  # distinct training views in the finish, for every contender

# Brief trials of 2,000 images each; the searches without a library need more of them.
_TRIAL = {"epochs": 2000 / 49_000}
_LIBRARY = {"rungs": 0, "score_images": 128}


@dataclass(frozen=True)
class Task:
    """One row to be made, in a folder that the other budgets of its method and seed share."""

    method: str
    budget: float
    seed: int
    compute: float
    home: Path


@dataclass(frozen=True)
class Student:
    """A network within the budget and what making it took; its first `answered` training views are
    known to the workbench's teacher.
    """

    bench: Workbench
    network: nn.Module
    compute: float
    answered: int
    detail: Row


def compete(task: Task) -> Row:
    """Make the student, finish it with what compute is left, test it once."""
    started = time.perf_counter()
    student = CONTENDERS[task.method](task)
    left = task.compute - student.compute
    accuracy, compute = polish(_with_finish(student, left), student.network)
    cost = count(student.network, *_SHAPE)
    return {
        "method": task.method,
        "flops_ratio_budget": task.budget,
        "seed": task.seed,
        "flops": cost.flops,
        "params": cost.params,
        "test_accuracy": evaluate(student.network, student.bench.test).accuracy,
        "teacher_test_accuracy": evaluate(student.bench.teacher, student.bench.test).accuracy,
        "compute": round(student.compute + compute),
        "seconds": round(time.perf_counter() - started, 1),
        "validation_accuracy": accuracy,
        "compute_before_finish": round(student.compute),
        **student.detail,
    }


def _with_finish(student: Student, compute: float) -> Workbench:
    """The workbench with a finish that takes so much compute."""
    bench = student.bench
    ratio = bench.ratio(student.network)
    exams = len(EXAMS) * len(bench.validation) * ratio
    asked = _VIEWS - min(_VIEWS, student.answered)
    images = (compute - exams - asked) / (3 * ratio)
    finish = bench.spec.finish.model_copy(
        update={"epochs": images / len(bench.train), "views": _VIEWS}
    )
    return replace(bench, spec=bench.spec.model_copy(update={"finish": finish}))


def _job(task: Task, trials: int, **parts: Any) -> Student:
    search = {"granularity": "conv", "trials": trials, "repeats": 0, **parts.pop("search", {})}
    asked = spec(
        task.budget,
        task.seed,
        search=search,
        distill=_TRIAL,
        finish={"finalists": 0},  # finished here, with what compute is left
        **parts,
    )
    done = jobs.run(task.home, asked)
    best = done.best
    network = rewrite(done.bench.teacher, jobs.plan_of(best)).requires_grad_(True)
    assert best.checkpoint is not None
    restore_weights(network, best.checkpoint, done.files)
    detail = {
        "trials": len(done.candidates),
        "trial": best.number,
        "trial_accuracy": best.accuracy,
        "plan": best.plan,
        # What the library had promised of each trial, and what it then measured.
        "predicted": [
            {"predicted": each.predicted, "accuracy": each.accuracy, "flops": each.flops}
            for each in done.candidates
            if each.predicted is not None and each.state is CandidateState.COMPLETE
        ],
    }
    return Student(done.bench, network, done.compute, best.images or 0, detail)


def _pareconv(task: Task) -> Student:
    """Library, solver, a few trials."""
    return _job(task, 4, library=_LIBRARY)


def _optuna(task: Task) -> Student:
    """The same program without library and solver."""
    return _job(task, 12, library=None)


def _random(task: Task) -> Student:
    """Random plans from the library."""
    return _job(task, 12, library=_LIBRARY, search={"sampler": "random"})


def _uniform(task: Task) -> Student:
    """One operator everywhere: of every operator's mildest uniform plan within the budget the one
    that a brief distillation likes best. What choosing it took is not counted.
    """
    profiled, bench = _profile(task)
    plans = uniform_plans(replace(problem_of(profiled, None), trials=1000))
    files = FileStore(str(task.home / "artifacts"))
    accuracies = {plan: run_trial(bench, Trial(plan), files)["accuracy"] for plan in plans}
    best = max(accuracies, key=lambda plan: accuracies[plan])
    detail = {
        "plan": best.to_json(),
        "compared": {str(next(iter(plan.values()))): found for plan, found in accuracies.items()},
    }
    network = assemble(bench, best, None, files)
    return Student(jobs.unasked(bench), network, _looked_at(bench, network), 0, detail)


def _torch_pruning(task: Task) -> Student:
    from benchmarks.peers import torch_pruning

    _, bench = _profile(task)
    (batch,) = _batches(bench, count=1, size=256)
    return _pruned(bench, torch_pruning.prune(_teacher(bench), batch, _limit(task, bench)))


def _model_optimizer(task: Task) -> Student:
    from benchmarks.peers import model_optimizer

    _, bench = _profile(task)
    # Few images: at 15 % FastNAS would spend all compute on twice as many.
    scored = bench.held_out(250)
    batches = _batches(bench, count=50, size=8)
    limit = _limit(task, bench)
    return _pruned(
        bench,
        model_optimizer.prune(
            _teacher(bench), limit, batches, lambda network: evaluate(network, scored).accuracy
        ),
    )


def _pruned(bench: Workbench, pruned: Pruned) -> Student:
    recalibrate(pruned.network, bench.recalibration)
    compute = pruned.forward_images + _looked_at(bench, pruned.network)
    return Student(bench, pruned.network, compute, 0, {})


def _profile(task: Task) -> tuple[Profiled, Workbench]:
    asked = spec(task.budget, task.seed, search={"granularity": "conv"}, distill=_TRIAL)
    return jobs.profile(task.home, asked)


def _teacher(bench: Workbench) -> nn.Module:
    return copy.deepcopy(bench.teacher).requires_grad_(True)


def _limit(task: Task, bench: Workbench) -> int:
    return int(task.budget * count(bench.teacher, *_SHAPE).flops)


def _looked_at(bench: Workbench, network: nn.Module) -> float:
    """Batch norms renewed, and the first look that decides the learning rate."""
    return bench.ratio(network) * (len(bench.recalibration) + len(bench.probe))


def _batches(bench: Workbench, *, count: int, size: int) -> list[tuple[Tensor, Tensor]]:
    return [bench.views[torch.arange(n * size, (n + 1) * size)] for n in range(count)]


CONTENDERS: dict[str, Callable[[Task], Student]] = {
    "pareconv": _pareconv,
    "optuna": _optuna,
    "random": _random,
    "torch_pruning": _torch_pruning,
    "model_optimizer": _model_optimizer,
    "uniform": _uniform,
}
