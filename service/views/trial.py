"""A candidate as the API shows it, whatever became of it. Reads no store."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from pareconv.service.views.plan import in_order
from pareconv.storage.candidate_states import CandidateState

if TYPE_CHECKING:
    from pareconv.storage.candidates import Candidate


class RungView(BaseModel):
    """A look at a student while it was taught."""

    model_config = ConfigDict(from_attributes=True)

    images: int = Field(description="images seen in training by then")
    accuracy: float = Field(description="on the validation split")
    stderr: float


class TrialView(BaseModel):
    """One plan tried. What is not known (yet) is null."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "example": {
                "trial": 3,
                "state": "failed",
                "reason": "the loss became NaN in step 12 of 40",
                "plan": {"layer1.0": "svd(ratio=0.5)"},
                "flops": 20301000,
                "adds": 0,
                "params": 151000,
                "latency_ms": None,
                "accuracy": None,
                "accuracy_stderr": None,
                "loss": None,
                "seconds": None,
                "images": None,
                "compute": None,
                "predicted": 0.18,
                "rungs": [],
                "evaluations": 0,
                "retry_of": None,
                "finalist": False,
                "finish_accuracy": None,
                "finish_compute": None,
                "test_accuracy": None,
                "wanted": None,
                "created_at": "2026-11-20T19:12:40Z",
                "finished_at": "2026-11-20T19:12:48Z",
            }
        },
    )

    trial: int = Field(validation_alias=AliasChoices("trial", "number"))
    state: CandidateState
    reason: str | None = Field(description="why it failed or was stopped")
    plan: dict[str, str]
    flops: int
    adds: int
    params: int
    latency_ms: float | None = Field(description="the sum over its parts, where it is reckoned")
    accuracy: float | None
    accuracy_stderr: float | None
    loss: float | None
    seconds: float | None
    images: int | None = Field(description="images seen in training")
    compute: float | None = Field(
        description="what it cost, in forward passes of an image through the teacher"
    )
    predicted: float | None = Field(description="its library's score of the plan; less is better")
    rungs: list[RungView] = Field(description="what it reached on the way")
    evaluations: int = Field(
        description="seeds that `accuracy` is the mean of; 0 before it is known"
    )
    retry_of: int | None = Field(description="the trial whose plan is tried once more")
    finalist: bool
    finish_accuracy: float | None
    finish_compute: float | None = Field(description="what its finish cost, as `compute`")
    test_accuracy: float | None
    wanted: dict[str, Any] | None = Field(
        description="there while it is yet to be finished on request: what of that shall be other "
        "than the job's `finish`"
    )
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, candidate: "Candidate", profile: Mapping[str, Any] | None) -> Self:
        """Of a job with that profile."""
        shown = cls.model_validate(candidate)
        return shown.model_copy(update={"plan": in_order(shown.plan, profile)})
