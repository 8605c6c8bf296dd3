"""A job as the API shows it, put together from its row and its candidates. Changes nothing."""

from datetime import UTC, datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from pareconv.models.cost_table import quantity_of
from pareconv.search.accuracy_drop import AccuracyDrop
from pareconv.service.more import ExtensionView
from pareconv.service.stores import Stores
from pareconv.service.teacher_view import TeacherView
from pareconv.storage.candidates import Candidate, FrontCost
from pareconv.storage.jobs import Job, JobStatus, Stage


class Counts(BaseModel):
    """How many candidates are in each state."""

    running: int
    complete: int
    stopped: int
    failed: int


class Best(BaseModel):
    """The most accurate point of the front; where an accuracy drop is allowed the answer, once
    there is one.
    """

    trial: int
    accuracy: float
    flops: int
    params: int


class AnswerView(BaseModel):
    """Who is the least costly finished student within `budget.accuracy_drop`."""

    trial: int | None = Field(description="null where no finished student is within it (yet)")
    least_accuracy: float = Field(description="on validation: the teacher's less the drop")
    message: str = Field(description="the answer in words, with the remedy where there is none")


class Links(BaseModel):
    """Where more of a job is."""

    pareto: str
    students: str
    trials: str
    events: str
    dashboard: str

    @classmethod
    def of(cls, job_id: str) -> Self:
        base = f"/jobs/{job_id}"
        return cls(
            pareto=f"{base}/pareto",
            students=f"{base}/students",
            trials=f"{base}/trials",
            events=f"{base}/events",
            dashboard="/dashboard",
        )


_EXAMPLE: dict[str, Any] = {
    "id": "1m3qjx0y6bq3c8z5w9d2e7f4ga",
    "name": "digits at half the FLOPs",
    "status": "running",
    "stage": "search",
    "progress": 0.42,
    "eta_s": 96.0,
    "created_at": "2026-11-20T19:10:02Z",
    "started_at": "2026-11-20T19:10:03Z",
    "finished_at": None,
    "error": None,
    "priority": 0,
    "counts": {"running": 1, "complete": 7, "stopped": 0, "failed": 0},
    "teacher": {
        "accuracy": 0.981,
        "test_accuracy": None,
        "flops": 12500000,
        "adds": 0,
        "params": 78042,
        "latency_ms": None,
    },
    "best": {"trial": 4, "accuracy": 0.972, "flops": 6100000, "params": 39000},
    "answer": None,
    "library": "1m3qk7t2c5x8v0b4n6d9f1h3ja",
    "extension": None,
    "spec": {
        "teacher": {"architecture": "cifar_resnet8"},
        "dataset": {"source": "digits"},
        "budget": {"flops": "50%"},
    },
    "links": {
        "pareto": "/jobs/1m3qjx0y6bq3c8z5w9d2e7f4ga/pareto",
        "students": "/jobs/1m3qjx0y6bq3c8z5w9d2e7f4ga/students",
        "trials": "/jobs/1m3qjx0y6bq3c8z5w9d2e7f4ga/trials",
        "events": "/jobs/1m3qjx0y6bq3c8z5w9d2e7f4ga/events",
        "dashboard": "/dashboard",
    },
}


class JobView(BaseModel):
    """A job: what it was asked, how far it is, what it has found."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    id: str
    name: str | None
    status: JobStatus
    stage: Stage | None = Field(description="which of the four stages runs, or ran last")
    progress: float = Field(ge=0, le=1)
    eta_s: float | None = Field(description="seconds to go, while it runs and can be told")
    created_at: datetime
    started_at: datetime | None = Field(
        description="when a worker began; anew where more was asked of a job that had succeeded"
    )
    finished_at: datetime | None
    error: dict[str, Any] | None = Field(description="the problem that a failed job ended with")
    priority: int = Field(description="of the jobs that wait those of the highest go first")
    counts: Counts
    teacher: TeacherView | None = Field(description="null until it is measured")
    best: Best | None = Field(description="null until a candidate is complete")
    answer: AnswerView | None = Field(
        description="null where no accuracy drop is allowed, or the teacher is not measured yet"
    )
    library: str | None = Field(description="id of the library that it builds or draws on")
    extension: ExtensionView | None = Field(
        description="by how much its search was extended beyond the spec, the last time"
    )
    spec: dict[str, Any] = Field(description="every `auto` resolved, once that is known")
    links: Links


def job_view(job: Job, stores: Stores) -> JobView:
    """The view of a job as it was read, with its candidates as they are now."""
    counts = stores.candidates.counts(job.id)
    most_accurate = stores.candidates.best(job.id, cost=cost_of(job))
    finalists = stores.candidates.finalists(job.id)
    return JobView(
        id=job.id,
        name=job.name,
        status=job.status,
        stage=job.stage,
        progress=job.progress,
        eta_s=_eta_seconds(job),
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        error=job.error,
        priority=job.priority,
        counts=Counts(**{state.value: number for state, number in counts.items()}),
        teacher=TeacherView.from_profile(job.profile),
        best=_best(answer_of(job, finalists) or most_accurate),
        answer=answer_view(job, finalists),
        library=job.library_id,
        extension=ExtensionView.of(job),
        spec=job.resolved or job.spec,
        links=Links.of(job.id),
    )


def cost_of(job: Job) -> FrontCost:
    """The cost that the job's front is drawn over."""
    objectives = job.spec["search"]["objectives"]
    cost: FrontCost = objectives[1]
    return cost


def _eta_seconds(job: Job) -> float | None:
    if job.status is not JobStatus.RUNNING or job.started_at is None or job.progress <= 0:
        return None
    elapsed = (datetime.now(UTC) - job.started_at).total_seconds()
    return max(elapsed, 0.0) * (1 - job.progress) / job.progress


def answer_of(job: Job, finalists: list[Candidate]) -> Candidate | None:
    """The least costly within the accuracy drop; None where the job allows none, or none is."""
    drop = _drop_of(job)
    return None if drop is None else drop.answer(finalists)


def answer_view(job: Job, finalists: list[Candidate]) -> AnswerView | None:
    drop = _drop_of(job)
    if drop is None:
        return None
    found = drop.answer(finalists)
    return AnswerView(
        trial=None if found is None else found.number,
        least_accuracy=drop.least,
        message=drop.told(finalists),
    )


def _drop_of(job: Job) -> AccuracyDrop | None:
    if job.profile is None:
        return None
    accuracy, quantity = job.profile["teacher"]["accuracy"], quantity_of(cost_of(job))
    return AccuracyDrop.of(points_of(job), accuracy, quantity)


def points_of(job: Job) -> float | None:
    """The accuracy drop that its spec allows, which older ones do not know."""
    points: float | None = (job.spec.get("budget") or {}).get("accuracy_drop")
    return points


def _best(best: Candidate | None) -> Best | None:
    if best is None:
        return None
    assert best.accuracy is not None
    return Best(trial=best.number, accuracy=best.accuracy, flops=best.flops, params=best.params)
