"""More of a job that is there: one student more, or more trials. Asks for it; a worker does it."""

from pareconv.service.references import missing_upload
from pareconv.service.stores import Stores
from pareconv.service.views.request import ExtensionRequest, StudentRequest
from pareconv.storage.errors import Conflict
from pareconv.storage.jobs import Job


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
