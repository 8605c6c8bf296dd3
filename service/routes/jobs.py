"""Routes of jobs: submit, look, prioritize, pause, cancel, resume, extend, delete."""

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Header, Query, Response

from pareconv.service.admission import InjectedAdmission
from pareconv.service.dependencies import (
    Cursor,
    InjectedStores,
    Limit,
    require_json,
)
from pareconv.service.job_view import job_view
from pareconv.service.more import extend
from pareconv.service.problems import documented
from pareconv.service.scoped_route import ScopedRoute, needs
from pareconv.service.submission import BODY, InjectedSubmission
from pareconv.service.views.job import JobView
from pareconv.service.views.page import Page
from pareconv.service.views.request import MAX_PRIORITY, ExtensionRequest, PriorityRequest
from pareconv.storage.jobs import JobStatus
from pareconv.storage.scopes import Scope

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=ScopedRoute)

AskedExtension = Annotated[ExtensionRequest, Body(examples=[{"trials": 40}])]
Priority = Annotated[
    int,
    Query(
        ge=-MAX_PRIORITY,
        le=MAX_PRIORITY,
        description="of the jobs that wait those of the highest go first, the oldest of them",
    ),
]
AskedPriority = Annotated[PriorityRequest, Body(examples=[{"priority": 5}])]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        description="the same key with the same request gives the first job again",
    ),
]


@router.post(
    "",
    status_code=201,
    summary="Submit a job",
    openapi_extra={"requestBody": BODY},
    responses=documented(400, 408, 409, 413, 415, 503, 504, 507),
)
@needs(Scope.SUBMIT)
def create_job(
    submission: InjectedSubmission,
    admission: InjectedAdmission,
    stores: InjectedStores,
    response: Response,
    idempotency_key: IdempotencyKey = None,
    priority: Priority = 0,
) -> JobView:
    """Check a spec against its teacher and data, then queue the job.

    Send the spec as JSON, or as multipart with the parts `spec`, `model` and `data`: a model and
    a budget in one call. A refused request leaves nothing behind.
    """
    job = admission.admit(submission, idempotency_key, priority=priority)
    response.headers["location"] = f"/jobs/{job.id}"
    return job_view(job, stores)


@router.get("", summary="List the jobs, newest first")
@needs(Scope.READ)
def list_jobs(
    stores: InjectedStores,
    limit: Limit = 20,
    cursor: Cursor = None,
    status: Annotated[JobStatus | None, Query(description="only jobs of this status")] = None,
) -> Page[JobView]:
    found, following = stores.jobs.page(limit, cursor, status)
    return Page(items=[job_view(job, stores) for job in found], next=following)


@router.get("/{job_id}", summary="Show a job", responses=documented(404))
@needs(Scope.READ)
def show_job(job_id: str, stores: InjectedStores) -> JobView:
    return job_view(stores.jobs.get(job_id), stores)


@router.patch(
    "/{job_id}",
    summary="Change a job's priority",
    dependencies=[Depends(require_json)],
    responses=documented(400, 404, 408, 409, 413, 415),
)
@needs(Scope.SUBMIT)
def prioritize_job(job_id: str, asked: AskedPriority, stores: InjectedStores) -> JobView:
    """While it is queued; it keeps its place among those of the same priority."""
    return job_view(stores.jobs.prioritize(job_id, asked.priority), stores)


@router.post("/{job_id}/pause", summary="Pause a job", responses=documented(404, 409))
@needs(Scope.SUBMIT)
def pause_job(job_id: str, stores: InjectedStores) -> JobView:
    """A waiting job is paused at once, a running one as soon as its worker sees it, within seconds.

    Stages and trials that are done stay done; the trial that runs is stopped, and its plan tried
    again after `/resume`. Asking again changes nothing.
    """
    return job_view(stores.jobs.pause(job_id), stores)


@router.post("/{job_id}/cancel", summary="Cancel a job", responses=documented(404, 409))
@needs(Scope.SUBMIT)
def cancel_job(job_id: str, stores: InjectedStores) -> JobView:
    """A waiting job is cancelled at once, a running one as soon as its worker sees it.

    What was found stays, and `/resume` goes on from there. Asking again changes nothing.
    """
    return job_view(stores.jobs.cancel(job_id), stores)


@router.post("/{job_id}/resume", summary="Resume a job", responses=documented(404, 409))
@needs(Scope.SUBMIT)
def resume_job(job_id: str, stores: InjectedStores) -> JobView:
    """Queue a paused, failed or cancelled job again; it goes on where it stopped."""
    job = stores.jobs.resume(job_id)
    stores.events.append(job.id, "queued", "resumed; waits for a worker")
    return job_view(job, stores)


@router.post(
    "/{job_id}/extend",
    status_code=202,
    summary="Extend a search",
    dependencies=[Depends(require_json)],
    responses=documented(400, 404, 408, 409, 413, 415),
)
@needs(Scope.SUBMIT)
def extend_job(job_id: str, asked: AskedExtension, stores: InjectedStores) -> JobView:
    """Queue a job that has succeeded to search on from its trials, with new patience.

    Then the most accurate of the front are finished, those that were stay as they are.
    """
    return job_view(extend(job_id, asked, stores), stores)


@router.delete("/{job_id}", status_code=204, summary="Delete a job", responses=documented(404, 409))
@needs(Scope.SUBMIT)
def delete_job(job_id: str, stores: InjectedStores) -> None:
    """Forget a job that no worker has, with its trials, its events and those of its files that
    nothing else is.
    """
    stores.garbage.free(stores.jobs.delete(job_id))
