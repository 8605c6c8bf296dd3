"""The front of a job as the API shows it. Changes nothing."""

import hashlib
import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from pareconv.service.job_view import AnswerView, answer_of, answer_view, points_of
from pareconv.service.stores import Stores
from pareconv.service.teacher_view import TeacherView
from pareconv.storage.artifacts import Artifact
from pareconv.storage.candidates import Candidate, CandidateState, FrontCost
from pareconv.storage.jobs import Job, JobStatus

_CONVENTION = "one multiply-add is 1 (fvcore)"

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
    def of(cls, artifact: Artifact) -> Self:
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
    "flops_convention": _CONVENTION,
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


def front_view(job: Job, stores: Stores, *, cost: FrontCost) -> ParetoView:
    """The front over that cost, with the files of its finalists."""
    return ParetoView(
        job=job.id,
        status=job.status,
        objectives=["accuracy", cost],
        trials_completed=stores.candidates.counts(job.id)[CandidateState.COMPLETE],
        flops_convention=_CONVENTION,
        budget=_budget(job),
        teacher=TeacherView.from_profile(job.profile),
        answer=answer_view(job, stores.candidates.finalists(job.id)),
        points=_points(job, stores, stores.candidates.front(job.id, cost=cost)),
    )


def students_view(job: Job, stores: Stores) -> list[Point]:
    """Every finished candidate with its files, by number, on the front or not."""
    return _points(job, stores, stores.candidates.finalists(job.id))


def front_tag(job: Job, stores: Stores, *, cost: FrontCost) -> str:
    """An ETag that changes with anything that `front_view` shows."""
    profile = job.profile or {}
    parts = [
        job.id,
        job.status,
        cost,
        profile.get("teacher"),
        profile.get("budget"),
        stores.candidates.version(job.id),
    ]
    return f'"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}"'


def _budget(job: Job) -> BudgetView:
    limits = {} if job.profile is None else job.profile["budget"]
    return BudgetView(**limits, accuracy_drop=points_of(job))


def _points(job: Job, stores: Stores, candidates: list[Candidate]) -> list[Point]:
    teacher = TeacherView.from_profile(job.profile)
    artifacts = stores.artifacts.of_job(job.id)
    answer = answer_of(job, stores.candidates.finalists(job.id))
    return [
        _point(
            each,
            teacher,
            [a for a in artifacts if a.number == each.number],
            is_answer=answer is not None and answer.number == each.number,
        )
        for each in candidates
    ]


def _point(
    candidate: Candidate,
    teacher: TeacherView | None,
    artifacts: list[Artifact],
    *,
    is_answer: bool,
) -> Point:
    assert candidate.accuracy is not None
    cost = candidate.flops + candidate.adds
    return Point(
        trial=candidate.number,
        accuracy=candidate.accuracy,
        accuracy_stderr=candidate.accuracy_stderr,
        evaluations=candidate.evaluations,
        predicted=candidate.predicted,
        flops=candidate.flops,
        flops_ratio=teacher and teacher.flops_ratio(cost),
        adds=candidate.adds,
        params=candidate.params,
        params_ratio=teacher and teacher.params_ratio(candidate.params),
        latency_ms=candidate.latency_ms,
        latency_ratio=teacher and teacher.latency_ratio(candidate.latency_ms),
        plan=candidate.plan,
        finalist=candidate.finalist,
        finish_accuracy=candidate.finish_accuracy,
        test_accuracy=candidate.test_accuracy,
        latencies=[LatencyView(**each) for each in candidate.latencies],
        answer=is_answer,
        artifacts=[ArtifactView.of(each) for each in artifacts],
    )
