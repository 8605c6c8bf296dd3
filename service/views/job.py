"""A job as the API shows it. Reads no store."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from pareconv.service.figures import duration
from pareconv.service.views.teacher import TeacherView
from pareconv.storage.job_states import JobStatus, Stage

if TYPE_CHECKING:
    from pareconv.storage.jobs import Job


class Counts(BaseModel):
    """How many candidates are in each state."""

    running: int
    complete: int
    stopped: int
    failed: int


class Best(BaseModel):
    """The most accurate student on validation, finished ones after their longer training; where an
    accuracy drop is allowed the answer, once there is one.
    """

    trial: int
    accuracy: float
    finished: bool = Field(False, description="whether it was trained longer, after the search")
    flops: int
    adds: int = Field(0, description="additions of adder layers, which a budget of FLOPs counts")
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
    page: str | None = Field(None, description="for people")
    dashboard: str

    @classmethod
    def of(cls, job_id: str) -> Self:
        base = f"/jobs/{job_id}"
        return cls(
            pareto=f"{base}/pareto",
            students=f"{base}/students",
            trials=f"{base}/trials",
            events=f"{base}/events",
            page=f"/ui{base}",
            dashboard="/dashboard",
        )


class ExtensionView(BaseModel):
    """What a search was extended by last."""

    trials: int
    time_limit_s: float | None
    after: int = Field(description="trials that there were before")

    @classmethod
    def of(cls, job: "Job") -> Self | None:
        if job.extension is None:
            return None
        return cls.model_validate(job.extension | {"after": job.extension["candidates"]})


_EXAMPLE: dict[str, Any] = {
    "id": "1m3qjx0y6bq3c8z5w9d2e7f4ga",
    "name": "digits at half the FLOPs",
    "owner": None,
    "status": "running",
    "stage": "search",
    "progress": 0.42,
    "stage_eta_s": 41.0,
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
    "best": {
        "trial": 4,
        "accuracy": 0.972,
        "finished": False,
        "flops": 6100000,
        "params": 39000,
    },
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
        "page": "/ui/jobs/1m3qjx0y6bq3c8z5w9d2e7f4ga",
        "dashboard": "/dashboard",
    },
}


class JobView(BaseModel):
    """A job: what it was asked, how far it is, what it has found."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    id: str
    name: str | None
    owner: str | None = Field(
        None, description="id of the token that it belongs to; null where none was asked for"
    )
    status: JobStatus
    stage: Stage | None = Field(description="which of the four stages runs, or ran last")
    progress: float = Field(ge=0, le=1)
    stage_eta_s: float | None = Field(
        description="seconds to go of its stage, while it runs and can be told"
    )
    eta_s: float | None = Field(
        description="seconds to go, stages to come included, which can be told from the first "
        "complete trial on"
    )
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

    @property
    def time_left(self) -> str:
        """As people read it; empty where nothing can be told."""
        if self.eta_s is not None:
            return f"about {duration(self.eta_s)} left"
        if self.stage_eta_s is not None:
            return f"about {duration(self.stage_eta_s)} left of this stage"
        return ""
