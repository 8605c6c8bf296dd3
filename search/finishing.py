"""The finish: one student of the front taught longer, tested once, exported and checked."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import fx

from pareconv.models.exporting import export
from pareconv.models.plan import Plan
from pareconv.search.data.batches import normalize
from pareconv.search.evaluation import evaluate
from pareconv.search.spec import Normalize
from pareconv.search.trial import restore, teach
from pareconv.search.workbench import Workbench
from pareconv.storage.files import FileStore

Emit = Callable[[dict[str, Any]], None]

_CHECKED_IMAGES = 16


def finish(
    bench: Workbench, plan: Plan, checkpoint: str, files: FileStore, emit: Emit
) -> dict[str, Any]:
    """`finish_accuracy` (validation), `test_accuracy` and the stored `artifacts`."""

    def progress(done: float, loss: float) -> None:
        emit({"type": "progress", "what": "finishing", "done": done, "loss": loss})

    student = restore(bench, plan, checkpoint, files)
    teach(bench, student, bench.spec.finish, purpose=("finish", plan.key), progress=progress)
    finish_accuracy = evaluate(student, bench.validation).accuracy
    test_accuracy = evaluate(student, bench.test).accuracy
    return {
        "finish_accuracy": finish_accuracy,
        "test_accuracy": test_accuracy,
        "artifacts": _export(bench, student, plan, files),
    }


def _export(
    bench: Workbench, student: fx.GraphModule, plan: Plan, files: FileStore
) -> list[dict[str, Any]]:
    images = bench.validation.images[:_CHECKED_IMAGES]
    formats = list(bench.spec.finish.formats)
    with tempfile.TemporaryDirectory() as directory:
        exported = export(
            student,
            Path(directory),
            formats,
            images=normalize(images, bench.validation.mean, bench.validation.std),
            metadata=_metadata(bench, plan),
        )
        return [
            {
                "format": file.format,
                "sha256": files.put(file.path),
                "size_bytes": file.path.stat().st_size,
                "difference": file.difference,
            }
            for file in exported
        ]


def _metadata(bench: Workbench, plan: Plan) -> dict[str, Any]:
    """What travels in the files: enough to feed the student, and to build it again."""
    assert isinstance(bench.spec.teacher.normalize, Normalize)  # resolved
    return {
        "architecture": bench.spec.teacher.architecture,
        "num_classes": len(bench.classes),
        "plan": plan.to_json(),
        "classes": list(bench.classes),
        "normalize": bench.spec.teacher.normalize.model_dump(),
        "image_size": bench.spec.dataset.image_size,
    }
