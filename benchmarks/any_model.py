"""Any model in, a model that stands alone out: jobs by REST on networks of many kinds, from
upload to download: `python -m benchmarks.any_model`.

Ten networks of torchvision by name, and three ONNX files that others made. A tenth of CIFAR-10 as
JPEG and little training: what counts is that every step works and that the numbers agree.
"""

import argparse
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import foreign
from benchmarks.record import Record
from benchmarks.setting import DATA, require_data
from pareconv.models.student import load_student
from pareconv.service.client import Client
from pareconv.service.demo import running_server

Row = dict[str, Any]

_FORMATS = ("safetensors", "onnx", "pt2", "onnx-int8", "report")
_PER_CLASS = {"train": 500, "test": 100}
_COMPARED = 16


@dataclass(frozen=True)
class Subject:
    """A network to compress. `made` writes the ONNX file that holds it, where that is no name,
    `weights` its state dict, where the service is not to train it.
    """

    name: str
    image_size: int
    made: Callable[[Path, Path, int], None] | None = None
    weights: Callable[[Path, Path, int], None] | None = None
    training: dict[str, Any] = field(default_factory=dict)
    operators: tuple[str, ...] = ("svd", "slim")


# Enough not to be near chance. A network without batch norm wants a smaller learning rate.
_TRAINING = {"epochs": 2, "batch_size": 64, "lr": 0.05}
_LONGER = _TRAINING | {"epochs": 5}
# Depth-wise convolutions from random weights need more steps than other networks.
_MANY_STEPS = {"epochs": 8, "batch_size": 32, "lr": 0.05}
_CALM = {"epochs": 4, "batch_size": 64, "lr": 0.01}

SUBJECTS = (
    Subject("resnet18", 64, training=_TRAINING),
    Subject("mobilenet_v2", 64, training=_TRAINING),
    Subject("densenet121", 32, training=_TRAINING),
    Subject("googlenet", 32, training=_TRAINING),
    Subject("regnet_y_400mf", 64, training=_LONGER),
    Subject("efficientnet_b0", 64, training=_MANY_STEPS),
    Subject("convnext_tiny", 32, weights=foreign.convnext_weights),
    Subject("shufflenet_v2_x1_0", 64, training=_MANY_STEPS),
    Subject("squeezenet1_1", 64, training=_CALM),
    Subject("vgg11_bn", 32, training=_CALM),
    Subject("legacy torch exporter: resnet34", 32, foreign.legacy_exporter),
    Subject("timm's exporter: mobilenetv3_small_100", 64, foreign.timm_exporter),
    Subject("onnx.helper: an Inception net", 32, foreign.assembled),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=Path("build/bench-any-model"))
    parser.add_argument("--only", help="subjects whose name contains this")
    arguments = parser.parse_args()
    require_data()
    record = Record("any_model", ("teacher",))
    with running_server(arguments.home) as client, tempfile.TemporaryDirectory() as folder:
        images = Path(folder, "cifar.tar")
        _pack(images)
        dataset = client.datasets.upload(images).reference
        for subject in SUBJECTS:
            if record.has(teacher=subject.name) or (arguments.only or "") not in subject.name:
                continue
            record.add(_row(client, subject, dataset, images, Path(folder)))
            Console().print(table(record.rows))


def table(rows: list[Row]) -> Table:
    """What went in and what came out, by teacher."""
    shown = Table("teacher", "pixels", "blocks", "least", "budget", "student", "teacher's test",
                  "student's", "ONNX", "int8 test", "minutes")  # fmt: skip
    for row in rows:
        shown.add_row(
            row["teacher"],
            str(row["image_size"]),
            str(row["blocks"]),
            f"{row['least']:.0%}",
            f"{row['budget']:.0%}",
            f"{row['flops_ratio']:.0%}",
            f"{row['teacher_test_accuracy']:.1%}",
            f"{row['test_accuracy']:.1%}",
            "refused"
            if row["differences"].get("onnx") is None
            else f"{row['differences']['onnx']:.0e}",
            "refused" if row["int8_test_accuracy"] is None else f"{row['int8_test_accuracy']:.1%}",
            f"{row['seconds'] / 60:.1f}",
        )
    shown.caption = (
        "the least cost that can be reached, the budget and the student as shares of the teacher's "
        "FLOPs; ONNX: the largest difference of any output from the student's, as a share of the "
        "largest output; other work shared the machine"
    )
    return shown


def _row(client: Client, subject: Subject, dataset: str, images: Path, folder: Path) -> Row:
    started = time.monotonic()
    spec: dict[str, Any] = {
        "name": subject.name,
        "teacher": {"architecture": subject.name, "training": subject.training},
        "dataset": {"source": dataset, "image_size": subject.image_size},
        "budget": {"flops": "100%"},
        "library": {"rungs": 0, "score_images": 32},
        "search": {"operators": list(subject.operators), "trials": 2, "repeats": 0},
        "distill": {"epochs": 0.1},
        "finish": {"finalists": 1, "epochs": 0.3, "formats": list(_FORMATS)},
    }
    file = None
    if subject.made is not None:
        file = folder / "foreign.onnx"
        subject.made(file, images, subject.image_size)
        uploaded = client.teachers.upload(file)
        spec["teacher"] = {"architecture": uploaded.reference, "normalize": foreign.NORMALIZE}
    if subject.weights is not None:
        weights = folder / "weights.pt"
        subject.weights(weights, images, subject.image_size)
        uploaded = client.teachers.upload(weights)
        spec["teacher"] |= {"weights": uploaded.reference, "normalize": foreign.NORMALIZE}
    inspected = client.inspect(spec)
    least = inspected.reachable.flops.least / inspected.teacher.flops
    budget = round(least + 0.4 * (1 - least), 2)
    spec["budget"] = {"flops": f"{100 * budget:g}%"}
    client.inspect(spec)  # it is reachable: no problem is answered
    job = client.jobs.create(spec).wait(on_event=lambda event: Console().print(event.message))
    assert job.teacher is not None
    (student,) = job.students()
    files = {
        artifact.format: job.download(folder / job.id, format=artifact.format)[0]
        for artifact in student.artifacts
    }
    exported = {each.format: each for each in student.artifacts}
    int8 = exported.get("onnx-int8")
    return {
        "teacher": subject.name,
        "image_size": subject.image_size,
        "blocks": len(inspected.blocks),
        "least": round(least, 4),
        "budget": budget,
        "flops_ratio": student.flops_ratio,
        "teacher_test_accuracy": job.teacher.test_accuracy,
        "test_accuracy": student.test_accuracy,
        "int8_test_accuracy": int8 and int8.test_accuracy,
        "differences": {format: each.difference for format, each in exported.items()},
        "here": _differences(files, file, images, subject.image_size),
        "bytes": {format: path.stat().st_size for format, path in files.items()},
        "seconds": round(time.monotonic() - started, 1),
    }


def _differences(
    files: dict[str, Path], teacher: Path | None, images: Path, size: int
) -> dict[str, float]:
    """Of each downloaded file's outputs from the safetensors', relative to the largest."""
    batch = next(foreign.batches(images, "test", size, _COMPARED))[0]
    with torch.no_grad():
        expected = load_student(files["safetensors"], teacher)(batch).numpy()
    found: dict[str, Any] = {}
    if "pt2" in files:
        found["pt2"] = torch.export.load(files["pt2"]).module()(batch).detach().numpy()
    if "onnx" in files:
        session = onnxruntime.InferenceSession(files["onnx"], providers=["CPUExecutionProvider"])
        (found["onnx"],) = session.run(None, {"images": batch.numpy()})
    largest = np.abs(expected).max()
    return {name: float(np.abs(each - expected).max() / largest) for name, each in found.items()}


def _pack(path: Path) -> None:
    """A tenth of the data: the first images of each class, as a tar."""
    taken: dict[tuple[str, str], int] = {}
    with zipfile.ZipFile(DATA) as packed, tarfile.open(path, "w") as archive:
        for info in sorted(packed.infolist(), key=lambda each: each.filename):
            if info.is_dir():
                continue
            split, name, _ = info.filename.split("/")
            taken[split, name] = taken.get((split, name), 0) + 1
            if taken[split, name] <= _PER_CLASS[split]:
                member = tarfile.TarInfo(info.filename)
                member.size = info.file_size
                with packed.open(info) as file:
                    archive.addfile(member, file)


if __name__ == "__main__":
    main()
