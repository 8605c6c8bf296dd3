"""The finish: one student of the front taught longer, tested once, exported and checked."""

import copy
import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from torch import fx

from pareconv.models.exporting import export
from pareconv.models.latency import Conditions, compare
from pareconv.models.plan import Plan
from pareconv.models.rewriting import rewrite
from pareconv.models.teachers.model_file import OF_FILE
from pareconv.search.checkpoints import restore_weights
from pareconv.search.data.batches import normalize
from pareconv.search.distillation.setting import Others, nobody
from pareconv.search.evaluation import evaluate
from pareconv.search.spec import Normalize
from pareconv.search.teaching import Pace, first_look, training_of
from pareconv.search.training import Progress
from pareconv.search.workbench import Workbench
from pareconv.storage.files import FileStore

Emit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Tried:
    """A plan and the SHA-256 of the weights that its trial left."""

    plan: Plan
    checkpoint: str

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        return cls(Plan.from_json(values["plan"]), values["checkpoint"])


_CHECKED_IMAGES = 16

# A higher rate than in a trial: it has longer to come down, and starts closer.
PACE = Pace(lr_per_gap=0.1, averaging=0.02)
EXAMS = (0.0, 0.6, 0.7, 0.8, 0.9, 1.0)  # shares of the training after which it is examined


def finish(
    bench: Workbench, tried: Tried, others: Sequence[Tried], files: FileStore, emit: Emit
) -> dict[str, Any]:
    """Teach the student of a trial on from its checkpoint, test it once, export it. A method may
    have it learn together with the `others`.

    `finish_accuracy` (validation), `test_accuracy`, `compute` (in forward passes of one image
    through the teacher) and the stored `artifacts`.
    """

    def progress(done: float, _loss: float) -> None:
        emit({"type": "progress", "done": done})

    def loaded() -> list[fx.GraphModule]:
        return [_student(bench, other, files) for other in others]

    student = _student(bench, tried, files)
    accuracy, compute = polish(bench, student, loaded, progress)
    return {
        "finish_accuracy": accuracy,
        "test_accuracy": evaluate(student, bench.test).accuracy,
        "compute": compute,
        "latencies": _latencies(bench, student),
        "artifacts": _export(bench, student, tried.plan, files),
    }


def _latencies(bench: Workbench, student: fx.GraphModule) -> list[dict[str, Any]]:
    """Of teacher and student as a whole, in turns: where the job's budget counts, and on one thread
    of the processor and the job's GPU, one image at a time.
    """
    asked = bench.spec.latency
    places = [Conditions("onnxruntime"), Conditions("torch")]
    if bench.spec.device.startswith("cuda"):
        places.append(Conditions("torch", device=bench.spec.device))
    if asked is not None:
        own = Conditions(asked.runtime, asked.batch, asked.threads, bench.spec.device)
        places.insert(0, own)
    found = []
    for place in dict.fromkeys(places):
        networks = [copy.deepcopy(each).to(place.device) for each in (bench.teacher, student)]
        teacher, timing = compare(networks, (1, *bench.sample.shape[1:]), place)
        found.append(
            place.subject
            | {
                "teacher_ms": teacher.ms,
                "teacher_spread_ms": teacher.spread_ms,
                "student_ms": timing.ms,
                "student_spread_ms": timing.spread_ms,
            }
        )
    return found


def _student(bench: Workbench, tried: Tried, files: FileStore) -> fx.GraphModule:
    student = rewrite(bench.teacher, tried.plan).requires_grad_(True)
    restore_weights(student, tried.checkpoint, files)
    return student


def polish(
    bench: Workbench,
    student: fx.GraphModule,
    others: Others = nobody,
    progress: Progress | None = None,
) -> tuple[float, float]:
    """Teach `student` as `finish` of the spec says, and leave it with its averaged weights as they
    were at the exam that they passed best. Returns the validation accuracy there, and the compute.
    """
    asked = bench.answers.asked
    training = training_of(
        bench,
        student,
        bench.spec.finish,
        "finish",
        pace=PACE,
        others=others,
        progress=progress,
    )
    best, state = -1.0, {}
    for share in EXAMS:
        training.run(share)
        accuracy = evaluate(training.deployed, bench.validation).accuracy
        if accuracy >= best:  # of equals the one that learnt longer
            best, state = accuracy, copy.deepcopy(training.deployed.state_dict())
    student.load_state_dict(state)
    looked_at = len(EXAMS) * len(bench.validation) + first_look(bench, bench.spec.finish)
    taught = training.compute(bench.ratio) + bench.ratio(student) * looked_at
    return best, taught + bench.answers.asked - asked


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
            teacher=bench.teacher_file,
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
