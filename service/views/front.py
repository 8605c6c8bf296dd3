"""A front and its points as the API shows them. Reads no store."""

from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from pareconv.service.views.job import AnswerView
from pareconv.service.views.teacher import TeacherView
from pareconv.storage.job_states import JobStatus

if TYPE_CHECKING:
    from pareconv.storage.artifacts import Artifact

FLOPS_CONVENTION = "one multiply-add is 1 (fvcore)"

_POINT: dict[str, Any] = {
    "trial": 7,
    "accuracy": 0.929,
    "accuracy_stderr": 0.004,
    "evaluations": 1,
    "predicted": 0.12,
    "flops": 20301000,
    "flops_ratio": 0.496,
    "adds": 0,
    "params": 151000,
    "params_ratio": 0.56,
    "latency_ms": None,
    "latency_ratio": None,
    "plan": {"layer1.0": "svd(ratio=0.5)"},
    "finalist": True,
    "finish_accuracy": 0.934,
    "test_accuracy": 0.871,
    "latencies": [
        {
            "device": "AMD EPYC",
            "runtime": "onnxruntime",
            "batch": 1,
            "threads": 1,
            "versions": {"onnxruntime": "1.31.1"},
            "teacher_ms": 1.92,
            "teacher_spread_ms": 0.05,
            "student_ms": 1.21,
            "student_spread_ms": 0.04,
        }
    ],
    "answer": False,
    "artifacts": [
        {
            "format": "onnx",
            "bytes": 620000,
            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "href": "/jobs/1m3qjx0y6bq3c8z5w9d2e7f4ga/students/7/onnx",
            "difference": 2.4e-07,
            "accuracy": None,
            "test_accuracy": None,
        }
    ],
}


class ArtifactView(BaseModel):
    """A file that a student was exported to."""

    format: str
    bytes: int
    sha256: str
    href: str
    difference: float | None = Field(
        None, description="how far its outputs were from the student's, relative to the largest"
    )
    accuracy: float | None = Field(
        None, description="of a quantised file, on the validation split; others have the student's"
    )
    test_accuracy: float | None = Field(None, description="of a quantised file, measured once")

    @classmethod
    def of(cls, artifact: "Artifact") -> Self:
        return cls(
            format=artifact.format,
            bytes=artifact.size_bytes,
            sha256=artifact.sha256,
            href=f"/jobs/{artifact.job_id}/students/{artifact.number}/{artifact.format}",
            **(artifact.details or {}),
        )


class LatencyView(BaseModel):
    """How long teacher and student took in turns: medians, and half the distance between the
    quartiles, in milliseconds for one batch.
    """

    device: str
    runtime: str
    batch: int
    threads: int
    versions: dict[str, str]
    teacher_ms: float
    teacher_spread_ms: float
    student_ms: float
    student_spread_ms: float


class Point(BaseModel):
    """A candidate of the front, or a finished one. Ratios are of the teacher's cost."""

    model_config = ConfigDict(json_schema_extra={"example": _POINT})

    trial: int
    accuracy: float = Field(description="after brief training, on the validation split")
    accuracy_stderr: float | None
    evaluations: int = Field(description="seeds that `accuracy` is the mean of")
    predicted: float | None = Field(description="its library's score of the plan; less is better")
    flops: int
    flops_ratio: float | None = Field(description="of FLOPs and additions")
    adds: int
    params: int
    params_ratio: float | None
    latency_ms: float | None = Field(description="the sum over its parts, where that is a budget")
    latency_ratio: float | None
    plan: dict[str, str]
    finalist: bool
    finish_accuracy: float | None = Field(description="of a finalist, on the validation split")
    test_accuracy: float | None = Field(description="of a finalist, measured once")
    latencies: list[LatencyView] = Field(description="of a finalist, timed whole")
    answer: bool = Field(description="whether it is the one that `budget.accuracy_drop` asks for")
    artifacts: list[ArtifactView]


class BudgetView(BaseModel):
    """The limits as absolute numbers; null where there is none, or it is not known yet."""

    flops: int | None = None
    params: int | None = None
    latency_ms: float | None = None
    accuracy_drop: float | None = Field(
        None, description="percent points that a student may lose against the teacher"
    )


_EXAMPLE: dict[str, Any] = {
    "job": "1m3qjx0y6bq3c8z5w9d2e7f4ga",
    "status": "running",
    "objectives": ["accuracy", "flops"],
    "trials_completed": 31,
    "flops_convention": FLOPS_CONVENTION,
    "budget": {"flops": 20463936, "params": None, "latency_ms": None, "accuracy_drop": None},
    "teacher": {
        "accuracy": 0.941,
        "test_accuracy": 0.878,
        "flops": 40927872,
        "adds": 0,
        "params": 269722,
        "latency_ms": None,
    },
    "answer": None,
    "points": [_POINT],
}


class ParetoView(BaseModel):
    """The Pareto set of the complete candidates, cheapest first."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    job: str
    status: JobStatus
    objectives: list[str]
    trials_completed: int
    flops_convention: str
    budget: BudgetView
    teacher: TeacherView | None
    answer: AnswerView | None = Field(
        description="who is within the accuracy drop; null where none is allowed"
    )
    points: list[Point]
