"""The first page: the jobs, newest first."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from pareconv.service.dependencies import Cursor, InjectedStores
from pareconv.service.job_view import cost_of, job_view
from pareconv.service.scoped_route import needs
from pareconv.service.stores import Stores
from pareconv.service.subject import teacher_and_data
from pareconv.service.web import small_front
from pareconv.service.web.page import page
from pareconv.service.web.page_route import PageRoute
from pareconv.service.web.visitor import InjectedVisitor, Visitor
from pareconv.storage.jobs import Job, JobStatus
from pareconv.storage.scopes import Scope

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_PER_PAGE = 20
Status = Annotated[JobStatus | None, Query()]


@router.get("/")
@needs(Scope.READ)
def show_jobs(
    request: Request,
    stores: InjectedStores,
    visitor: InjectedVisitor,
    status: Status = None,
    cursor: Cursor = None,
) -> Response:
    jobs, following = stores.jobs.page(_PER_PAGE, cursor, status)
    values = {
        "visitor": visitor,
        "jobs": [
            {
                "view": job_view(job, stores),
                "subject": teacher_and_data(job.spec, stores),
                "front": _small_front(job, stores),
            }
            for job in jobs
        ],
        "owners": _owners(stores, visitor),
        "statuses": list(JobStatus),
        "status": status,
        "cursor": cursor,
        "next": following,
    }
    return page(request, "jobs", values)


def _owners(stores: Stores, visitor: Visitor) -> dict[str, str]:
    """What tokens are called, for who sees the jobs of others; empty where none is asked for."""
    if not (visitor.has_token and visitor.sees_all):
        return {}
    return {token.id: token.name or token.id for token in stores.tokens.all()}


def _small_front(job: Job, stores: Stores) -> small_front.SmallFront | None:
    cost = cost_of(job)
    whole = None
    if job.profile is not None:
        teacher = job.profile["teacher"]
        whole = {
            "flops": teacher["flops"] + teacher["adds"],
            "params": teacher["params"],
            "latency": teacher.get("latency_ms"),
        }[cost]
    return small_front.small_front(stores.candidates.front(job.id, cost=cost), cost, whole)
