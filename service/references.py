"""Who still names an upload: what nobody names may go. Changes nothing."""

from collections.abc import Iterator, Mapping

from pareconv.storage.errors import NotFound
from pareconv.storage.jobs import TERMINAL, Job, JobStatus, JobStore
from pareconv.storage.uploads import Kind, UploadStore

_PAGE = 100


def unfinished_job_with(jobs: JobStore, kind: Kind, id: str) -> Job | None:
    """A job that still needs the upload, if there is one."""
    return next((job for job in _unfinished(jobs) if f"{kind}:{id}" in _names(job)), None)


def missing_upload(job: Job, uploads: Mapping[Kind, UploadStore]) -> str | None:
    """The upload that a job needs to go on with and that was deleted, as its spec calls it."""
    needed: dict[Kind, str] = {
        "teacher": job.spec["teacher"]["architecture"],
        "dataset": job.spec["dataset"]["source"],
    }
    for kind, reference in needed.items():
        if reference.startswith(f"{kind}:"):
            try:
                uploads[kind].get(reference.removeprefix(f"{kind}:"))
            except NotFound:
                return reference
    return None


def _unfinished(jobs: JobStore) -> Iterator[Job]:
    for status in (each for each in JobStatus if each not in TERMINAL):
        cursor = None
        while True:
            page, cursor = jobs.page(_PAGE, cursor, status)
            yield from page
            if cursor is None:
                break


def _names(job: Job) -> set[str | None]:
    teacher = job.spec["teacher"]
    return {teacher["architecture"], teacher.get("weights"), job.spec["dataset"].get("source")}
