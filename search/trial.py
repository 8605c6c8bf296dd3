"""One trial: a plan assembled, briefly taught in rungs, and measured on the validation split."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import fx
from torch.utils.flop_counter import FlopCounterMode

from pareconv.models.cost import multiply_adds
from pareconv.models.errors import PlanError
from pareconv.models.plan import Plan
from pareconv.models.rewriting import rewrite
from pareconv.search.checkpoints import read_weights, save_weights
from pareconv.search.errors import Diverged
from pareconv.search.evaluation import evaluate, recalibrate
from pareconv.search.rungs import RUNGS, Rung, beaten
from pareconv.search.seeds import derived
from pareconv.search.teaching import Pace, first_look, training_of
from pareconv.search.workbench import Workbench
from pareconv.storage.files import FileStore

PACE = Pace(lr_per_gap=0.02)


@dataclass(frozen=True)
class Trial:
    """What is tried: a plan, the library's weights by block (None: cold starts), the best rungs of
    plans that cost no more, and how often the plan was tried before.
    """

    plan: Plan
    weights: Mapping[str, str] | None = None
    bar: Sequence[Rung] = ()
    attempt: int = 0


def run_trial(bench: Workbench, trial: Trial, files: FileStore) -> dict[str, Any]:
    """Accuracy, its standard error, loss, seconds, training images, compute (in forward passes of
    one image through the teacher), rungs, and the checkpoint's SHA-256; where a rung showed that
    the trial is beaten, the `reason` in place of the checkpoint.

    What is learnt depends on the spec, the plan and the library alone, not on what was tried
    before. Raises Diverged, with its compute.
    """
    started, asked = time.perf_counter(), bench.answers.asked
    student, spent = assemble(bench, trial.plan, trial.weights, files)
    training = training_of(bench, student, bench.spec.distill, "trial", trial.attempt, pace=PACE)
    rungs: list[Rung] = []
    reason = None

    def compute() -> float:
        looked_at = len(rungs) * len(bench.validation) + first_look(bench, bench.spec.distill)
        taught = training.compute(bench.ratio) + bench.ratio(student) * looked_at
        return spent + taught + bench.answers.asked - asked

    try:
        for share in (*RUNGS, 1.0) if bench.spec.search.stop_early else (1.0,):
            training.run(share)
            measured = evaluate(student, bench.validation)
            rungs.append(Rung(training.images, measured.accuracy, measured.stderr))
            if not math.isfinite(measured.loss):
                raise Diverged(
                    f"the validation loss is {measured.loss}; a lower learning rate may help"
                )
            if share < 1 and (reason := beaten(rungs, trial.bar)):
                break
    except Diverged as error:
        raise Diverged(error.message, compute()) from error
    return {
        "accuracy": measured.accuracy,
        "accuracy_stderr": measured.stderr,
        "loss": measured.loss,
        "seconds": time.perf_counter() - started,
        "images": training.images,
        "compute": compute(),
        "rungs": [asdict(rung) for rung in rungs],
        "checkpoint": None if reason else save_weights(student, files),
        "reason": reason,
    }


def assemble(
    bench: Workbench, plan: Plan, weights: Mapping[str, str] | None, files: FileStore
) -> tuple[fx.GraphModule, float]:
    """The student of `plan` with batch norms right for it, on the device: of the library's
    `weights` where there are some, of closed forms otherwise. Beside it the compute, in forward
    passes of one image through the teacher.
    """
    spent = 0.0
    if weights is None:
        with torch.random.fork_rng(devices=[]), FlopCounterMode(display=False) as counter:
            torch.manual_seed(derived(bench.spec.seed, "layers", plan.key))
            student = rewrite(bench.teacher, plan, bench.sample)
        spent = multiply_adds(counter) / bench.teacher_flops
    else:
        student = rewrite(bench.teacher, plan)
        for block in plan:
            # An entry holds its block alone; everything else is the teacher's.
            found = student.load_state_dict(read_weights(weights[block], files), strict=False)
            if found.unexpected_keys:
                raise PlanError(
                    f"block {block}: the library's weights of {plan[block]} hold "
                    f"{', '.join(found.unexpected_keys)}, which that option does not have; "
                    "delete the library to have it built anew"
                )
    student.requires_grad_(True)
    recalibrate(student, bench.recalibration)
    return student, spent + bench.ratio(student) * len(bench.recalibration)
