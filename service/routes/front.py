"""Routes of what a job has found: its front and its trials."""

from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Query, Response

from pareconv.service.dependencies import Cursor, InjectedFronts, InjectedStores, Limit
from pareconv.service.etags import IfNoneMatch, is_current
from pareconv.service.front_view import front_tag, front_view
from pareconv.service.job_view import cost_of
from pareconv.service.problems import documented
from pareconv.service.scoped_route import ScopedRoute, needs
from pareconv.service.views.front import ParetoView
from pareconv.service.views.page import Page
from pareconv.service.views.trial import TrialView
from pareconv.storage.candidates import FrontCost
from pareconv.storage.scopes import Scope

router = APIRouter(prefix="/jobs/{job_id}", tags=["results"], route_class=ScopedRoute)

_COSTS: dict[str, FrontCost] = {f"accuracy,{cost}": cost for cost in get_args(FrontCost)}
Objectives = Annotated[
    Literal["accuracy,flops", "accuracy,params", "accuracy,latency"] | None,
    Query(description="what the front trades off; the job's own by default"),
]


@router.get(
    "/pareto",
    summary="Show the front",
    response_model=ParetoView,
    responses=documented(404) | {304: {"description": "The front is as the client has it"}},
)
@needs(Scope.READ)
def show_front(
    job_id: str,
    stores: InjectedStores,
    fronts: InjectedFronts,
    objectives: Objectives = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The Pareto set of the complete candidates, cheapest first; cheap to poll by its ETag."""
    job = stores.jobs.get(job_id)
    cost = cost_of(job) if objectives is None else _COSTS[objectives]
    # Before what it stands for: a tag that is too old costs one answer, a too new one hides it.
    etag = front_tag(job, stores, cost=cost)
    headers = {"etag": etag, "cache-control": "no-cache"}
    if is_current(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    body = fronts.get(
        job.id, cost, etag, lambda: front_view(job, stores, cost=cost).model_dump_json()
    )
    return Response(body, headers=headers, media_type="application/json")


@router.get("/trials", summary="List every trial", responses=documented(404))
@needs(Scope.READ)
def list_trials(
    job_id: str, stores: InjectedStores, limit: Limit = 100, cursor: Cursor = None
) -> Page[TrialView]:
    """Every candidate by number, whatever became of it, with the reason where it failed."""
    job = stores.jobs.get(job_id)
    found, following = stores.candidates.page(job_id, limit, cursor)
    return Page(items=[TrialView.of(each, job.profile) for each in found], next=following)
