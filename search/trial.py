"""One trial: a plan assembled, briefly taught, and measured on the validation split."""

import io
import math
import time
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save
from torch import fx

from pareconv.models.plan import Plan
from pareconv.models.rewriting import rewrite
from pareconv.models.teachers.weights import load_weights
from pareconv.search.distillation.registry import method
from pareconv.search.errors import Diverged
from pareconv.search.evaluation import evaluate, recalibrate
from pareconv.search.seeds import derived
from pareconv.search.spec import Distill
from pareconv.search.training import Progress, Recipe, train
from pareconv.search.workbench import Workbench
from pareconv.storage.files import FileStore

_WEIGHT_DECAY = 5e-4


def run_trial(bench: Workbench, plan: Plan, files: FileStore) -> dict[str, Any]:
    """Accuracy, its standard error, loss, seconds, training images and the checkpoint's SHA-256.

    The result depends on the spec and the plan alone, not on what was tried before. Raises
    Diverged.
    """
    started = time.perf_counter()
    student = assemble(bench, plan)
    teach(bench, student, bench.spec.distill, purpose=("trial", plan.key))
    measured = evaluate(student, bench.validation)
    if not math.isfinite(measured.loss):
        raise Diverged(f"the validation loss is {measured.loss}; a lower learning rate may help")
    return {
        "accuracy": measured.accuracy,
        "accuracy_stderr": measured.stderr,
        "loss": measured.loss,
        "seconds": time.perf_counter() - started,
        "images": num_images(bench, bench.spec.distill),
        "checkpoint": save_weights(student, files),
    }


def assemble(bench: Workbench, plan: Plan) -> fx.GraphModule:
    """The student of `plan`, closed-form weights and batch norms right for it, on the device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived(bench.spec.seed, "layers", plan.key))
        student = rewrite(bench.teacher, plan, bench.sample).requires_grad_(True)
    recalibrate(student, bench.recalibration)
    return student


def teach(
    bench: Workbench,
    student: fx.GraphModule,
    distill: Distill,
    *,
    purpose: tuple[str, ...],
    progress: Progress | None = None,
) -> None:
    """Distil the teacher into `student` as `distill` says, with batches seeded by `purpose`."""
    assert isinstance(distill.batch_size, int)  # resolved
    assert isinstance(distill.lr, float)
    recipe = Recipe(
        images=num_images(bench, distill),
        batch_size=distill.batch_size,
        lr=distill.lr,
        weight_decay=_WEIGHT_DECAY,
        augment=bench.spec.dataset.augment,  # type: ignore[arg-type]  # resolved
        seed=derived(bench.spec.seed, *purpose),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)  # dropout draws from the global generator
        train(
            student,
            bench.teacher,
            bench.train,
            method(distill.method).from_spec(distill),
            recipe,
            progress=progress,
        )


def num_images(bench: Workbench, distill: Distill) -> int:
    """Training images, repeats included."""
    return max(2, round(distill.epochs * len(bench.train)))


def save_weights(student: fx.GraphModule, files: FileStore) -> str:
    state = {name: value.cpu().contiguous() for name, value in student.state_dict().items()}
    sha256, _ = files.put_stream(io.BytesIO(save(state)))
    return sha256


def restore(bench: Workbench, plan: Plan, checkpoint: str, files: FileStore) -> fx.GraphModule:
    """The student of a trial as the trial left it."""
    student = rewrite(bench.teacher, plan).requires_grad_(True)
    with files.open(checkpoint) as file:
        load_weights(student, load_safetensors(file.read()))
    return student
