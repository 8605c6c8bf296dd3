"""The profile stage: load teacher and data, train the teacher where it has no weights, check that
they fit.
"""

import hashlib
from collections.abc import Callable
from typing import Any

from pareconv.models.convolutions.registry import OPERATORS
from pareconv.models.space import block_costs
from pareconv.models.teachers.onnx_file.norms import anchor_norms
from pareconv.search.checkpoints import save_weights
from pareconv.search.data.images import Images
from pareconv.search.data.rows import chunks
from pareconv.search.distillation.labels import Labels
from pareconv.search.distillation.setting import Setting
from pareconv.search.errors import InvalidSpec, JobFailed
from pareconv.search.evaluation import Accuracy, chance, evaluate
from pareconv.search.inspection import Inspection, inspect
from pareconv.search.latencies import Known, timed
from pareconv.search.normalization import Normalization, normalization
from pareconv.search.references import References
from pareconv.search.resolving import needs_no_teacher, resolve
from pareconv.search.seeds import derived
from pareconv.search.spec import JobSpec
from pareconv.search.training import Recipe, Training
from pareconv.search.workbench import Workbench, lay_out, load_images

Emit = Callable[[dict[str, Any]], None]

# A teacher must be this far from guessing the most frequent class towards being always right.
_LEAST_SKILL = 0.1


def profile(spec: JobSpec, references: References, emit: Emit) -> dict[str, Any]:
    """`{"profile": ..., "resolved": ...}` as the job's row keeps them, and `latencies`: what was
    measured, `new`, and of what `subject`, if anything had to be.

    Raises InvalidSpec or JobFailed where teacher and data do not fit each other.
    """
    inspection = inspect(spec, references)
    spec = inspection.spec
    assumed = [each.model_dump() for each in inspection.assumed]
    emit({"type": "inspected", "assumed": assumed})
    images = load_images(spec, references)
    emit({"type": "data", "train": len(images.train_labels), "test": len(images.test_labels)})
    preparation = inspection.preparation
    bench, tried = _laid_out(inspection, images)
    if tried is not None:
        emit({"type": "normalized", "message": str(tried)})
    resolved = bench.spec
    latencies = None
    if known := Known.of(resolved, references, resolved.device):
        emit({"type": "timing"})
        found = timed(inspection.space, bench.teacher, inspection.shape, known)
        inspection = inspection.with_space(spec, found.space)
        latencies = {"subject": known.subject, "new": found.new}
    if preparation != "training":
        anchor_norms(bench.teacher, bench.sample)
    accuracy = None  # of a teacher that nothing is learnt from
    if not needs_no_teacher(spec):
        if preparation != "none":
            _train_teacher(bench, emit)
        accuracy = evaluate(bench.teacher, bench.validation)
        _check_skill(accuracy, bench, is_ours=preparation != "none")
    table = inspection.space.table
    names = [block.name for block in inspection.space.blocks]
    costs = block_costs(inspection.network, inspection.shape, names)
    return {
        "resolved": resolved.to_json(),
        "latencies": latencies,
        "profile": {
            "teacher": table.teacher.to_json()
            | {
                "accuracy": accuracy and accuracy.accuracy,
                "accuracy_stderr": accuracy and accuracy.stderr,
                "test_accuracy": None,
            },
            "budget": inspection.limits,
            "classes": list(images.classes),
            "images": {
                "train": len(bench.train),
                "validation": len(bench.validation),
                "test": len(bench.test),
            },
            "device": resolved.device,
            "weights": save_weights(bench.teacher, references.files),
            "data": _fingerprint(bench),
            "normalized": tried and str(tried),
            # Then its accuracy on validation flatters it.
            "validation_seen": preparation == "none" and images.validation_labels is None,
            "blocks": [
                {
                    "name": block.name,
                    "convs": list(block.convs),
                    "cost": costs[block.name].to_json(),
                }
                for block in inspection.space.blocks
            ],
            "left_out": [
                {"name": left.name, "reason": left.reason} for left in inspection.space.left_out
            ],
            "table": table.to_json(),
            "versions": {name: operator.version for name, operator in OPERATORS.items()},
        },
    }


def _laid_out(inspection: Inspection, images: Images) -> tuple[Workbench, Normalization | None]:
    """On a resolved spec, in which a teacher that knows these classes takes its images as it was
    trained to; and what was tried to find that out, where it was not said.
    """
    spec, preparation = inspection.spec, inspection.preparation
    resolved = resolve(spec, images, preparation)
    bench = lay_out(resolved, inspection.network, images)
    if spec.teacher.normalize != "auto" or preparation != "none":
        return bench, None
    found = normalization(bench)
    teacher = resolved.teacher.model_copy(update={"normalize": found.chosen})
    resolved = resolved.model_copy(update={"teacher": teacher})
    return lay_out(resolved, inspection.network, images), found


def _train_teacher(bench: Workbench, emit: Emit) -> None:
    training = bench.spec.teacher.training
    assert not isinstance(training.epochs, str)  # resolved
    assert not isinstance(training.lr, str)
    recipe = Recipe(
        images=(images := max(2, round(training.epochs * len(bench.train)))),
        pool=images,
        batch_size=training.batch_size,
        optimizer="sgd",
        lr=training.lr,
        weight_decay=training.weight_decay,
    )
    seed = derived(bench.spec.seed, "teacher-batches")

    def progress(done: float, loss: float) -> None:
        emit({"type": "progress", "what": "training the teacher", "done": done, "loss": loss})

    bench.teacher.requires_grad_(True)
    setting = Setting(bench.teacher, bench.views, None, seed)
    Training(setting, Labels(), recipe, progress=progress).run()
    bench.teacher.requires_grad_(False)


def _check_skill(accuracy: Accuracy, bench: Workbench, *, is_ours: bool) -> None:
    guessed = chance(bench.validation)
    least = guessed + _LEAST_SKILL * (1 - guessed)
    if accuracy.accuracy >= least:
        return
    found = (
        f"the teacher is near chance on its own data: {accuracy.accuracy:.1%} of the validation "
        f"images, the most frequent class alone gives {guessed:.1%}"
    )
    if is_ours:
        raise JobFailed(f"{found}; train it longer (teacher.training.epochs)")
    raise InvalidSpec(
        "teacher.weights",
        f"{found}. Likely causes: the classes are in another order than in training (here: "
        f"{', '.join(bench.classes[:5])}, ...), teacher.normalize differs from training, or the "
        "weights are of another task",
    )


def _fingerprint(bench: Workbench) -> str:
    """SHA-256 of the training and validation images and labels: what a library was made on."""
    digest = hashlib.sha256()
    for split in (bench.train, bench.validation):
        digest.update(repr(tuple(split.images.shape)).encode())
        for part in chunks(split.images):
            digest.update(split.images[part].cpu().contiguous().numpy().data)
        digest.update(repr(tuple(split.labels.shape)).encode())
        digest.update(split.labels.cpu().numpy().data)
    return digest.hexdigest()
