"""What is asked of a job that is there: one student more, more trials, another priority."""

from pydantic import BaseModel, ConfigDict, Field, StrictInt, field_validator

from pareconv.search.spec import Format, distinct

MAX_PRIORITY = 1000


class StudentRequest(BaseModel):
    """A trial that is to be finished, and how, where other than the job's `finish` says."""

    model_config = ConfigDict(extra="forbid")

    trial: StrictInt = Field(ge=0, lt=10**9, description="number of a complete trial")
    epochs: float | None = Field(
        None, gt=0, le=1000, allow_inf_nan=False, description="passes over the training split"
    )
    formats: list[Format] | None = Field(
        None, min_length=1, description="files to export, each once"
    )

    @field_validator("formats")
    @classmethod
    def _distinct(cls, formats: list[Format] | None) -> list[Format] | None:
        return formats and distinct(formats)


class PriorityRequest(BaseModel):
    """How urgent a job is."""

    model_config = ConfigDict(extra="forbid")

    priority: StrictInt = Field(
        ge=-MAX_PRIORITY, le=MAX_PRIORITY, description="higher ones go first; 0 unless said"
    )


class ExtensionRequest(BaseModel):
    """How much further the search of a job goes."""

    model_config = ConfigDict(extra="forbid")

    trials: StrictInt = Field(ge=1, le=100_000, description="candidates to try beyond those tried")
    time_limit_s: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="no new candidate starts after so many seconds of the extension",
    )
