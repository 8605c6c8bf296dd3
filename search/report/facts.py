"""Facts: everything that a report tells, as plain values. Knows no database, no torch, no HTML."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from pareconv.models.cost_table import Cost, Quantity, quantity_of
from pareconv.search.spec import JobSpec


class Facts(BaseModel):
    """A part of what is told: frozen, and JSON in between."""

    model_config = ConfigDict(frozen=True)


class TeacherFacts(Facts):
    """The teacher; accuracies are None where nothing was learnt from it."""

    cost: Cost
    accuracy: float | None
    test_accuracy: float | None


class StudentFacts(Facts):
    """The student: after its brief training (`accuracy`, the mean over `evaluations`), finished,
    and tested.
    """

    cost: Cost
    accuracy: float
    accuracy_stderr: float | None
    evaluations: int
    finish_accuracy: float
    test_accuracy: float


class TrialFacts(Facts):
    """A complete trial. `accuracy` is on validation, after brief training; `predicted` is the
    library's score of its plan, of which less is better.
    """

    trial: int
    cost: Cost
    accuracy: float
    predicted: float | None
    on_front: bool


class ConvFacts(Facts):
    """A convolution of the teacher."""

    name: str
    inputs: int
    outputs: int
    kernel: tuple[int, int]
    stride: tuple[int, int]


class BlockFacts(Facts):
    """A block of the teacher, what it cost and costs now, and which convolutions were rebuilt.

    `saved_ms` is how much less time its option takes, where latencies were measured.
    """

    name: str
    option: str
    before: Cost
    after: Cost
    rebuilt: list[ConvFacts]
    saved_ms: float | None = None


class LatencyFacts(Facts):
    """How long one batch takes, median; `spread` is the student's interquartile range, all in
    milliseconds.
    """

    runtime: str
    batch: int
    threads: int
    teacher_ms: float
    student_ms: float
    spread: float | None = None


class FileFacts(Facts):
    """An exported file; `accuracy` and `test_accuracy` where it has its own."""

    format: str
    filename: str
    sha256: str
    size_bytes: int
    difference: float | None = None
    accuracy: float | None = None
    test_accuracy: float | None = None


class Refusal(Facts):
    """A file that was asked for and not made, and why."""

    format: str
    reason: str


class Curve(Facts):
    """The finish: (share done, training loss) and (share done, validation accuracy)."""

    loss: list[tuple[float, float]]
    accuracy: list[tuple[float, float]]


class ReportFacts(Facts):
    """A finished student and the search that it came from. `confusion` holds (true class, predicted
    class, test images) where there are some; `limits` is the budget in absolute numbers.
    """

    job: str
    name: str
    trial: int
    written_at: datetime
    spec: JobSpec
    limits: dict[str, float | None]
    teacher: TeacherFacts
    student: StudentFacts
    trials: list[TrialFacts]
    untold: int  # trials that did not complete
    blocks: list[BlockFacts]
    operators: dict[Literal["teacher", "student"], dict[str, int]]
    classes: list[str]
    images: dict[str, int]
    confusion: list[tuple[int, int, int]]
    latency: list[LatencyFacts]
    curve: Curve
    files: list[FileFacts]
    refused: list[Refusal]
    versions: dict[str, str]
    device: str
    data: str
    weights: str
    normalized: str | None = None  # how the teacher's normalisation was found out, if it was

    @property
    def quantity(self) -> Quantity:
        """The cost that the front is drawn over."""
        return quantity_of(self.spec.search.objectives[1])

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")
