"""The finish: one student of the front taught longer, tested once, exported and checked."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from torch import fx

from pareconv.models.latency import Conditions, compare
from pareconv.models.plan import Plan
from pareconv.models.rewriting import rewrite
from pareconv.search.checkpoints import restore_weights
from pareconv.search.distillation.setting import Others, nobody
from pareconv.search.evaluation import confusion, evaluate
from pareconv.search.exports import export_student
from pareconv.search.report.findings import findings
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


# A higher rate than in a trial: it has longer to come down, and starts closer.
PACE = Pace(lr_per_gap=0.1, averaging=0.02)
EXAMS = (0.0, 0.6, 0.7, 0.8, 0.9, 1.0)  # shares of the training after which it is examined


def finish(
    bench: Workbench, tried: Tried, others: Sequence[Tried], files: FileStore, emit: Emit
) -> dict[str, Any]:
    """Teach the student of a trial on from its checkpoint, test it once, export it. A method may
    have it learn together with the `others`.

    `finish_accuracy` (validation), `test_accuracy`, `compute` (in forward passes of one image
    through the teacher), the stored `artifacts`, optional ones that were `refused`, and, where a
    report is asked for, the `findings` that it shows.
    """
    curve: dict[str, list[tuple[float, float]]] = {"loss": [], "accuracy": []}

    def progress(done: float, loss: float) -> None:
        curve["loss"].append((done, loss))
        emit({"type": "progress", "done": done})

    def examined(done: float, accuracy: float) -> None:
        curve["accuracy"].append((done, accuracy))

    def loaded() -> list[fx.GraphModule]:
        return [_student(bench, other, files) for other in others]

    student = _student(bench, tried, files)
    accuracy, compute = polish(bench, student, loaded, progress, examined)
    answers = confusion(student, bench.test, len(bench.classes))
    exports = export_student(bench, student, tried.plan, accuracy, files)
    result = {
        "finish_accuracy": accuracy,
        "test_accuracy": int(answers.trace()) / len(bench.test),
        "compute": compute,
        "latencies": _latencies(bench, student),
        "artifacts": exports.artifacts,
        "refused": exports.refused,
    }
    if "report" in bench.spec.finish.formats:
        result["findings"] = findings(bench, student, tried.plan) | {
            "curve": curve,
            "confusion": [[*place, int(answers[*place])] for place in answers.nonzero().tolist()],
        }
    return result


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
    examined: Progress | None = None,
) -> tuple[float, float]:
    """Teach `student` as `finish` of the spec says, and leave it with its averaged weights as they
    were at the exam that they passed best. Returns the validation accuracy there, and the compute.

    `examined` hears of each exam: the share done, and the accuracy.
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
        if examined is not None:
            examined(share, accuracy)
        if accuracy >= best:  # of equals the one that learnt longer
            best, state = accuracy, copy.deepcopy(training.deployed.state_dict())
    student.load_state_dict(state)
    looked_at = len(EXAMS) * len(bench.validation) + first_look(bench, bench.spec.finish)
    taught = training.compute(bench.ratio) + bench.ratio(student) * looked_at
    return best, taught + bench.answers.asked - asked
