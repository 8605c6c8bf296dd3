"""The contenders of the search benchmark: each makes a student within a budget of FLOPs, for the
same compute, counted in forward passes of one image through the teacher.

An image forward through a network counts that network's FLOPs over the teacher's; training on it
three times that. All are finished by the same distillation, with the compute that is left.
"""

import copy
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from benchmarks import jobs
from benchmarks.peers.pruned import Pruned
from benchmarks.setting import spec
from pareconv.models.cost import count
from pareconv.models.errors import PlanError
from pareconv.models.plan import Option, Plan
from pareconv.models.rewriting import rewrite
from pareconv.search.checkpoints import restore_weights
from pareconv.search.chooser import problem_of
from pareconv.search.errors import Diverged
from pareconv.search.evaluation import evaluate, recalibrate
from pareconv.search.finishing import EXAMS, polish
from pareconv.search.proposals import Problem, uniform_plans
from pareconv.search.run import Profiled
from pareconv.search.teaching import first_look, training_of
from pareconv.search.trial import PACE, Trial, assemble, run_trial
from pareconv.search.workbench import Workbench
from pareconv.storage.candidate_states import CandidateState
from pareconv.storage.files import FileStore

Row = dict[str, Any]

_SHAPE = (1, 3, 32, 32)
# How often a view is shown in the finish of every contender, or more often where the teacher's
# answers to so many views cannot be kept.
_SHOWN = 3

# Brief trials of 2,000 images each; the searches without a library need more of them.
_TRIAL = {"epochs": 2000 / 49_000}
_LIBRARY = {"rungs": 0, "score_images": 64}


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
    network: fx.GraphModule
    compute: float
    answered: int
    detail: Row


def compete(task: Task) -> Row:
    """Make the student, finish it with what compute is left, test it once."""
    started = time.perf_counter()
    student = CONTENDERS[task.method](task)
    left = task.compute - student.compute
    accuracy, finish_compute = polish(_with_finish(student, left), student.network)
    compute = student.compute + finish_compute
    if compute > 1.001 * task.compute:
        raise ValueError(f"{task} spent {compute:,.0f}")
    cost = count(student.network, *_SHAPE)
    return {
        "method": task.method,
        "flops_ratio_budget": task.budget,
        "seed": task.seed,
        "compute_allowed": task.compute,
        "flops": cost.flops,
        "flops_ratio": student.bench.ratio(student.network),
        "params": cost.params,
        "test_accuracy": evaluate(student.network, student.bench.test).accuracy,
        "teacher_test_accuracy": evaluate(student.bench.teacher, student.bench.test).accuracy,
        "compute": round(compute),
        "seconds": round(time.perf_counter() - started, 1),
        "validation_accuracy": accuracy,
        "compute_before_finish": round(student.compute),
        **student.detail,
    }


def _with_finish(student: Student, compute: float) -> Workbench:
    """The workbench with a finish that takes so much compute; ValueError if that is too little."""
    bench = student.bench
    ratio = bench.ratio(student.network)
    probed = first_look(bench, bench.spec.finish)
    left = compute - ratio * (len(EXAMS) * len(bench.validation) + probed) - probed
    views = min(bench.answers.room, int((left + student.answered) / (3 * ratio * _SHOWN + 1)))
    if views <= student.answered:
        raise ValueError(f"{compute:,.0f} forward passes are too few to finish with")
    images = (left - (views - student.answered)) / (3 * ratio)
    finish = bench.spec.finish.model_copy(
        update={"epochs": images / len(bench.train), "views": views}
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
    """Library, solver, and a trial of each of the two best plans that are unlike each other."""
    return _job(task, 2, library=_LIBRARY, search={"stop_early": False})


def _optuna(task: Task) -> Student:
    """The same program without library and solver."""
    return _job(task, 12, library=None)


def _random(task: Task) -> Student:
    """Random plans from the library."""
    return _job(task, 12, library=_LIBRARY, search={"sampler": "random"})


def _uniform(task: Task) -> Student:
    """One operator everywhere, the best of ours: which that is, brief trials tell, as they do for
    the others that try several students. It goes on from its trial.
    """
    bench, tried = _tried_everywhere(task)
    best = tried.best
    trial = tried.trials[best]
    network = rewrite(bench.teacher, best).requires_grad_(True)
    restore_weights(network, trial["checkpoint"], tried.files)
    return Student(bench, network, tried.compute, trial["images"], tried.detail)


def _uniform_given(task: Task) -> Student:
    """The same where it is known which operator is the best: a bound, since choosing it is free."""
    bench, tried = _tried_everywhere(task)
    bench = jobs.unasked(bench)
    network, compute = assemble(bench, tried.best, None, tried.files)
    detail = tried.detail | {"not_counted": tried.compute}
    return _briefly(bench, network, compute, detail)


@dataclass(frozen=True)
class _Tried:
    """Brief trials of uniform plans, and what all of them took."""

    trials: dict[Plan, Row]
    compute: float
    files: FileStore

    @property
    def best(self) -> Plan:
        return max(self.trials, key=lambda plan: self.trials[plan]["accuracy"])

    @property
    def detail(self) -> Row:
        compared = {str(next(iter(plan.values()))): each for plan, each in self.trials.items()}
        return {
            "plan": self.best.to_json(),
            "compared": {option: trial["accuracy"] for option, trial in compared.items()},
        }


def _tried_everywhere(task: Task) -> tuple[Workbench, _Tried]:
    """Of every operator its mildest uniform plan within the budget, and `svd` with a ratio that
    uses it up.
    """
    profiled, bench = _profile(task)
    problem = problem_of(profiled, None)
    files = FileStore(str(task.home / "artifacts"))
    trials: dict[Plan, Row] = {}
    compute = 0.0
    for plan in [*uniform_plans(replace(problem, trials=1000)), _fitted_svd(problem, bench)]:
        try:
            trials[plan] = run_trial(bench, Trial(plan), files)
            compute += trials[plan]["compute"]
        except Diverged as error:
            compute += error.compute
    return bench, _Tried(trials, compute, files)


def _fitted_svd(problem: Problem, bench: Workbench) -> Plan:
    """The highest ratio, in hundredths, that fits the budget in all blocks that take it."""
    blocks = [
        block
        for block, options in problem.table.changes.items()
        if any(option.operator == "svd" for option in options)
    ]
    for percent in range(99, 0, -1):
        plan = Plan(dict.fromkeys(blocks, Option.of("svd", ratio=percent / 100)))
        with suppress(PlanError):  # dearer than what it replaces
            if count(rewrite(bench.teacher, plan), *_SHAPE).flops <= problem.limits["flops"]:
                return plan
    raise ValueError(f"no svd fits {problem.limits['flops']:,} FLOPs")


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
    assert isinstance(pruned.network, fx.GraphModule)  # as the teacher is
    renewed = bench.ratio(pruned.network) * len(bench.recalibration)
    return _briefly(bench, pruned.network, pruned.forward_images + renewed, {})


def _briefly(bench: Workbench, network: fx.GraphModule, compute: float, detail: Row) -> Student:
    """Taught as in a trial first, as those of a search are, so that the learning rate of its finish
    is that of a student who has come as far.
    """
    asked = bench.answers.asked
    training = training_of(bench, network, bench.spec.distill, "trial", pace=PACE)
    training.run()
    shown = 3 * training.images + first_look(bench, bench.spec.distill)
    compute += bench.ratio(network) * shown + bench.answers.asked - asked
    return Student(bench, network, compute, training.images, detail)


def _profile(task: Task) -> tuple[Profiled, Workbench]:
    asked = spec(task.budget, task.seed, search={"granularity": "conv"}, distill=_TRIAL)
    return jobs.profile(task.home, asked)


def _teacher(bench: Workbench) -> nn.Module:
    return copy.deepcopy(bench.teacher).requires_grad_(True)


def _limit(task: Task, bench: Workbench) -> int:
    return int(task.budget * count(bench.teacher, *_SHAPE).flops)


def _batches(bench: Workbench, *, count: int, size: int) -> list[tuple[Tensor, Tensor]]:
    return [bench.views[torch.arange(n * size, (n + 1) * size)] for n in range(count)]


CONTENDERS: dict[str, Callable[[Task], Student]] = {
    "pareconv": _pareconv,
    "optuna": _optuna,
    "random": _random,
    "torch_pruning": _torch_pruning,
    "model_optimizer": _model_optimizer,
    "uniform": _uniform,
    "uniform_given": _uniform_given,
}
