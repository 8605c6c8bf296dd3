"""Exports: a student's files, checked, measured where they compute something else, stored."""

import hashlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import fx

from pareconv.models.exporting import ExportError, export
from pareconv.models.plan import Plan
from pareconv.models.quantization import OnnxNetwork, quantize
from pareconv.models.teachers.model_file import OF_FILE
from pareconv.search.data.batches import normalize
from pareconv.search.evaluation import chance, evaluate
from pareconv.search.spec import EXTENSIONS, Format, Normalize
from pareconv.search.workbench import Workbench
from pareconv.storage.files import FileStore

_CHECKED_IMAGES = 16
_EXACT: tuple[Format, ...] = ("pt2", "onnx", "safetensors")
_QUANTIZED: Format = "onnx-int8"
# Of what the student knows beyond chance: a quantised file that keeps less is no student.
_LEAST_KEPT = 0.5


@dataclass(frozen=True, slots=True)
class Exports:
    """What was stored, and which optional file was not, each as the finish answers it."""

    artifacts: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, str]] = field(default_factory=list)


def export_student(
    bench: Workbench, student: fx.GraphModule, plan: Plan, accuracy: float, files: FileStore
) -> Exports:
    """The files that the spec asks for, but for the report. `accuracy` is the student's on the
    validation split; a quantised file that falls far below is refused.

    Raises ExportError where one of the others cannot be made.
    """
    made, asked = Exports(), bench.spec.finish.formats
    is_source = _QUANTIZED in asked  # the ONNX file, asked for or not
    formats = [name for name in _EXACT if name in asked or (name == "onnx" and is_source)]
    checked = bench.validation.images[:_CHECKED_IMAGES]
    with tempfile.TemporaryDirectory() as directory:
        exported = export(
            student,
            Path(directory),
            formats,
            images=normalize(checked, bench.validation.mean, bench.validation.std),
            metadata=_metadata(bench, plan),
            teacher=bench.teacher_file,
        )
        paths = {file.format: file.path for file in exported}
        details: dict[str, dict[str, float]] = {
            file.format: {"difference": file.difference} for file in exported
        }
        if is_source:
            paths[_QUANTIZED] = Path(directory, f"student.{EXTENSIONS[_QUANTIZED]}")
            try:
                details[_QUANTIZED] = _quantized(bench, paths, accuracy)
            except ExportError as error:
                made.refused.append({"format": _QUANTIZED, "reason": str(error)})
        made.artifacts.extend(
            {
                "format": name,
                "sha256": files.put(paths[name]),
                "size_bytes": paths[name].stat().st_size,
                "details": known,
            }
            for name, known in details.items()
            if name in asked
        )
    return made


def _quantized(bench: Workbench, paths: dict[str, Path], accuracy: float) -> dict[str, float]:
    """Quantise the ONNX file by training images; its accuracy on validation and, once, on test."""
    shown = bench.recalibration
    images = normalize(shown.images[:], shown.mean, shown.std)
    quantize(paths["onnx"], paths[_QUANTIZED], images)
    network = OnnxNetwork(paths[_QUANTIZED])
    found = evaluate(network, bench.validation).accuracy
    guessed = chance(bench.validation)
    if found - guessed < _LEAST_KEPT * (accuracy - guessed):
        raise ExportError(
            f"{_QUANTIZED}: validation accuracy fell from {accuracy:.1%} to {found:.1%} in 8 bits, "
            f"where guessing gives {guessed:.1%}"
        )
    return {"accuracy": found, "test_accuracy": evaluate(network, bench.test).accuracy}


def _metadata(bench: Workbench, plan: Plan) -> dict[str, Any]:
    """What travels in the files: enough to feed the student, and to build it again."""
    assert isinstance(bench.spec.teacher.normalize, Normalize)  # resolved
    return {
        "architecture": _called(bench),
        "num_classes": len(bench.classes),
        "plan": plan.to_json(),
        "classes": list(bench.classes),
        "normalize": bench.spec.teacher.normalize.model_dump(),
        "image_size": bench.spec.dataset.image_size,
    }


def _called(bench: Workbench) -> str:
    """The teacher's network by a name that means the same everywhere."""
    if bench.teacher_file is None:
        return bench.spec.teacher.architecture
    with bench.teacher_file.open("rb") as file:
        return f"{OF_FILE}{hashlib.file_digest(file, 'sha256').hexdigest()}"
