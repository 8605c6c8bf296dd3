"""The pages of one job: its front, plans, progress, trials, blocks and students."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import JSONResponse

from pareconv.models.cost_table import quantity_of
from pareconv.service.dependencies import Cursor, InjectedStores
from pareconv.service.etags import IfNoneMatch, is_current
from pareconv.service.front_view import front_tag, front_view, students_view
from pareconv.service.job_view import cost_of, job_view
from pareconv.service.scoped_route import needs
from pareconv.service.stores import Stores
from pareconv.service.subject import teacher_and_data
from pareconv.service.views.trial import TrialView
from pareconv.service.web.front_chart import front_chart
from pareconv.service.web.library_map import Shown, library_map
from pareconv.service.web.page import page
from pareconv.service.web.page_route import PageRoute
from pareconv.service.web.plan_view import PlanView, plan_view
from pareconv.service.web.small_front import small_front
from pareconv.service.web.timeline import timeline
from pareconv.service.web.visitor import InjectedVisitor, Visitor
from pareconv.storage.candidates import FrontCost
from pareconv.storage.errors import NotFound
from pareconv.storage.job_states import ACTIVE, RESUMABLE
from pareconv.storage.jobs import TERMINAL, Job, JobStatus
from pareconv.storage.libraries import Entry
from pareconv.storage.scopes import Scope
from pareconv.storage.studies import study_of

router = APIRouter(prefix="/ui/jobs/{job_id}", route_class=PageRoute, include_in_schema=False)

_EVENTS = 200
_TRIALS = 100
Json = dict[str, Any]
Cost = Annotated[FrontCost | None, Query()]


def job_values(job: Job, stores: Stores, visitor: Visitor, tab: str) -> Json:
    """What every page of a job shows above its own."""
    newest = stores.events.newest(job.id, 1)
    return {
        "visitor": visitor,
        "tab": tab,
        "job": job_view(job, stores),
        "subject": teacher_and_data(job.spec, stores),
        "cost": cost_of(job),
        "study": study_of(stores.database, job.id),
        "is_live": job.status not in TERMINAL,
        "seq": newest[0].seq if newest else 0,
        "can": {
            "cancel": job.status in {*ACTIVE, JobStatus.QUEUED, JobStatus.PAUSED}
            and job.status is not JobStatus.CANCELLING,
            "pause": job.status in {JobStatus.QUEUED, JobStatus.RUNNING},
            "resume": job.status in RESUMABLE,
            "extend": job.status is JobStatus.SUCCEEDED and job.spec.get("plan") is None,
            "delete": job.status not in ACTIVE,
        },
    }


@router.get("")
@needs(Scope.READ)
def show_front(
    request: Request,
    job_id: str,
    stores: InjectedStores,
    visitor: InjectedVisitor,
    cost: Cost = None,
) -> Response:
    job = stores.jobs.get(job_id)
    chosen = cost or cost_of(job)
    front = front_view(job, stores, cost=chosen)
    values = job_values(job, stores, visitor, "front") | {
        "front": front,
        # Seen at once: Plotly takes a second or two to be read.
        "preview": small_front(front.points, chosen, None),
        "cost": chosen,
        "has_latency": job.profile is not None and bool(job.profile["teacher"].get("latency_ms")),
    }
    return page(request, "front", values)


@router.get("/chart")
@needs(Scope.READ)
def show_chart(
    job_id: str, stores: InjectedStores, cost: Cost = None, if_none_match: IfNoneMatch = None
) -> Response:
    """The numbers of the chart as JSON; cheap to ask again by its ETag."""
    job = stores.jobs.get(job_id)
    chosen = cost or cost_of(job)
    headers = {
        "etag": front_tag(job, stores, cost=chosen),
        "cache-control": "private, no-cache",
        "x-content-type-options": "nosniff",
    }
    if is_current(if_none_match, headers["etag"]):
        return Response(status_code=304, headers=headers)
    return JSONResponse(front_chart(job, stores, chosen), headers=headers)


@router.get("/trials")
@needs(Scope.READ)
def show_trials(
    request: Request,
    job_id: str,
    stores: InjectedStores,
    visitor: InjectedVisitor,
    cursor: Cursor = None,
) -> Response:
    job = stores.jobs.get(job_id)
    found, following = stores.candidates.page(job_id, _TRIALS, cursor)
    values = job_values(job, stores, visitor, "trials") | {
        "trials": [TrialView.of(each, job.profile) for each in found],
        "cursor": cursor,
        "next": following,
    }
    return page(request, "trials", values)


@router.get("/trials/{number}")
@needs(Scope.READ)
def show_plan(
    request: Request,
    job_id: str,
    number: int,
    stores: InjectedStores,
    visitor: InjectedVisitor,
    cost: Cost = None,
) -> Response:
    job = stores.jobs.get(job_id)
    candidate = stores.candidates.get(job_id, number)
    chosen = cost or cost_of(job)
    values = job_values(job, stores, visitor, "trials") | {
        "trial": TrialView.of(candidate, job.profile),
        "plan": drawn_plan(job, candidate.plan, stores, chosen),
        "cost": chosen,
    }
    return page(request, "plan", values)


def drawn_plan(job: Job, plan: dict[str, str], stores: Stores, cost: FrontCost) -> PlanView | None:
    """None before the teacher was profiled."""
    if job.profile is None:
        return None
    quantity = quantity_of(cost)
    if quantity == "latency_ms" and job.profile["teacher"].get("latency_ms") is None:
        quantity = "flops"
    return plan_view(job.profile, plan, _entries(job, stores), quantity)


@router.get("/blocks")
@needs(Scope.READ)
def show_blocks(
    request: Request,
    job_id: str,
    stores: InjectedStores,
    visitor: InjectedVisitor,
    show: Annotated[Shown, Query()] = "score",
) -> Response:
    job = stores.jobs.get(job_id)
    values = job_values(job, stores, visitor, "blocks") | {
        "show": show,
        "map": None,
        "left_out": [],
    }
    if job.profile is not None:
        values["left_out"] = job.profile["left_out"]
    entries = _entries(job, stores)
    if job.library_id is not None and entries:
        blocks = [] if job.profile is None else [each["name"] for each in job.profile["blocks"]]
        library = stores.libraries.get(job.library_id)
        values["map"] = library_map(library, entries, blocks, show)
    return page(request, "blocks", values)


@router.get("/progress")
@needs(Scope.READ)
def show_progress(
    request: Request, job_id: str, stores: InjectedStores, visitor: InjectedVisitor
) -> Response:
    job = stores.jobs.get(job_id)
    values = job_values(job, stores, visitor, "progress") | {
        "timeline": timeline(job, stores.jobs.times(job_id)),
        "events": stores.events.newest(job_id, _EVENTS),
    }
    return page(request, "progress", values)


@router.get("/students")
@needs(Scope.READ)
def show_students(
    request: Request, job_id: str, stores: InjectedStores, visitor: InjectedVisitor
) -> Response:
    job = stores.jobs.get(job_id)
    students = sorted(students_view(job, stores), key=lambda each: -each.flops)  # as their front
    values = job_values(job, stores, visitor, "students") | {"students": students}
    return page(request, "students", values)


def _entries(job: Job, stores: Stores) -> list[Entry]:
    if job.library_id is None:
        return []
    try:
        stores.libraries.get(job.library_id)
    except NotFound:
        return []
    return stores.libraries.entries(job.library_id)
