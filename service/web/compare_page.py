"""Compare: jobs or students side by side, each a column."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from pareconv.service.dependencies import InjectedStores
from pareconv.service.job_view import cost_of, job_view
from pareconv.service.scoped_route import needs
from pareconv.service.stores import Stores
from pareconv.service.subject import teacher_and_data
from pareconv.service.views.teacher import TeacherView
from pareconv.service.web.job_pages import drawn_plan
from pareconv.service.web.page import page
from pareconv.service.web.page_route import PageRoute
from pareconv.service.web.visitor import InjectedVisitor
from pareconv.storage.candidates import Candidate
from pareconv.storage.scopes import Scope

router = APIRouter(prefix="/ui/compare", route_class=PageRoute, include_in_schema=False)

Items = Annotated[
    list[str],
    Query(
        alias="item",
        default_factory=list,
        max_length=8,
        description="a job, or `<job>:<trial>`",
    ),
]
Json = dict[str, Any]


@router.get("")
@needs(Scope.READ)
def show_comparison(
    request: Request,
    stores: InjectedStores,
    visitor: InjectedVisitor,
    items: Items,
) -> Response:
    columns = [_column(item, stores) for item in dict.fromkeys(items)]
    jobs = list(dict.fromkeys(column["job"].id for column in columns))
    return page(request, "compare", {"visitor": visitor, "columns": columns, "jobs": jobs})


def _column(item: str, stores: Stores) -> Json:
    """A job without a trial stands for its best one."""
    job_id, _, trial = item.partition(":")
    job = stores.jobs.get(job_id)
    view = job_view(job, stores)
    number = int(trial) if trial.isdecimal() else (None if view.best is None else view.best.trial)
    candidate = None if number is None else stores.candidates.get(job_id, number)
    return {
        "job": view,
        "subject": teacher_and_data(job.spec, stores),
        "candidate": candidate,
        "teacher": view.teacher,
        "ratios": _ratios(candidate, view.teacher),
        "plan": candidate and drawn_plan(job, candidate.plan, stores, cost_of(job)),
    }


def _ratios(candidate: Candidate | None, teacher: TeacherView | None) -> Json:
    if candidate is None or teacher is None:
        return {"flops": None, "params": None}
    return {
        "flops": teacher.flops_ratio(candidate.flops + candidate.adds),
        "params": teacher.params_ratio(candidate.params),
    }
