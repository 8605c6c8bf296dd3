"""More of a job that is there: one student more, or more trials. Asks for it; a worker does it."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, StrictInt, field_validator

from pareconv.search.spec import Format, distinct
from pareconv.service.references import missing_upload
from pareconv.service.stores import Stores
from pareconv.storage.errors import Conflict
from pareconv.storage.jobs import Job

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


class ExtensionView(BaseModel):
    """What a search was extended by last."""

    trials: int
    time_limit_s: float | None
    after: int = Field(description="trials that there were before")

    @classmethod
    def of(cls, job: Job) -> Self | None:
        if job.extension is None:
            return None
        return cls.model_validate(job.extension | {"after": job.extension["candidates"]})


def finish_student(job_id: str, asked: StudentRequest, stores: Stores) -> bool:
    """Ask a worker to finish the trial; False where that was done already.

    Raises NotFound for an unknown job or trial, Conflict where it cannot be.
    """
    job = stores.jobs.get(job_id)
    candidate = stores.candidates.get(job_id, asked.trial)
    if candidate.finalist:
        _require_files(job, asked, stores)
        return False
    _require_uploads(job, stores)
    how = asked.model_dump(mode="json", exclude={"trial"}, exclude_none=True)
    if not stores.candidates.want(job_id, asked.trial, how):
        return False
    stores.events.append(
        job_id, "student", f"trial {asked.trial} is to be finished", data={"trial": asked.trial}
    )
    return True


def extend(job_id: str, asked: ExtensionRequest, stores: Stores) -> Job:
    """Ask a worker to search on. Raises NotFound, and Conflict where that cannot be."""
    job = stores.jobs.get(job_id)
    if job.spec.get("plan") is not None:
        raise Conflict(
            f"job {job_id} has a plan in place of a search; submit one with a budget instead"
        )
    _require_uploads(job, stores)
    job = stores.jobs.extend(job_id, trials=asked.trials, time_limit_s=asked.time_limit_s)
    limit = "" if asked.time_limit_s is None else f", in at most {asked.time_limit_s:g} s"
    message = f"the search goes on: {asked.trials} more trials{limit}"
    stores.events.append(job_id, "extended", message, data=asked.model_dump())
    return job


def _require_uploads(job: Job, stores: Stores) -> None:
    reference = missing_upload(job, stores.uploads)
    if reference is not None:
        raise Conflict(
            f"job {job.id} needs {reference}, which was deleted; upload it again and submit "
            "another job with it"
        )


def _require_files(job: Job, asked: StudentRequest, stores: Stores) -> None:
    """A student that is finished is not trained again: its files are what there is."""
    files = [each for each in stores.artifacts.of_job(job.id) if each.number == asked.trial]
    formats = [each.format for each in files]
    if lacking := [each for each in asked.formats or () if each not in formats]:
        raise Conflict(
            f"trial {asked.trial} of job {job.id} is finished already, as {', '.join(formats)} and "
            f"not as {', '.join(lacking)}; it is tested once and not trained again: take a file "
            "that there is, or submit a job with that plan"
        )
