"""What if: another budget on a finished library, its front predicted at once, a job on a button."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response
from starlette.responses import RedirectResponse

from pareconv.search.errors import InvalidSpec
from pareconv.service.admission import Admission
from pareconv.service.dependencies import InjectedIntake, InjectedStores, InjectedTasks
from pareconv.service.prediction import predict
from pareconv.service.scoped_route import needs
from pareconv.service.stores import Stores
from pareconv.service.submission import Submission
from pareconv.service.views.prediction import PredictedFrontView, PredictedPoint
from pareconv.service.web.job_pages import job_values
from pareconv.service.web.page import page
from pareconv.service.web.page_route import PageRoute
from pareconv.service.web.prediction_chart import Predicted, prediction_chart
from pareconv.service.web.refusals import refusal
from pareconv.service.web.translation import Translation
from pareconv.service.web.visitor import InjectedVisitor
from pareconv.storage.dots import dots
from pareconv.storage.errors import Conflict, NotFound
from pareconv.storage.jobs import Job
from pareconv.storage.libraries import Entry
from pareconv.storage.scopes import Scope

router = APIRouter(
    prefix="/ui/jobs/{job_id}/what-if", route_class=PageRoute, include_in_schema=False
)

Percent = Annotated[int, Query(ge=1, le=100)]
Json = dict[str, Any]


@router.get("")
@needs(Scope.READ)
def show_what_if(
    request: Request,
    job_id: str,
    stores: InjectedStores,
    visitor: InjectedVisitor,
    flops: Percent = 50,
) -> Response:
    job = stores.jobs.get(job_id)
    values = job_values(job, stores, visitor, "what-if")
    return page(request, "what_if", values | _predicted(job, stores, flops))


@router.post("")
@needs(Scope.SUBMIT)
def submit(
    job_id: str,
    flops: Annotated[int, Form(ge=1, le=100)],
    stores: InjectedStores,
    tasks: InjectedTasks,
    intake: InjectedIntake,
) -> Response:
    """The job again with that budget; what its library holds is used."""
    job = stores.jobs.get(job_id)
    spec = deepcopy(job.spec) | {"plan": None}
    if spec.get("name"):
        spec["name"] = f"{spec['name']}, at {flops}%"[:200]
    spec["budget"] = (spec.get("budget") or {}) | {"flops": f"{flops}%"}
    made = Admission(stores, tasks, intake).admit(Submission(spec))
    return RedirectResponse(f"/ui/jobs/{made.id}", status_code=303)


def _predicted(job: Job, stores: Stores, flops: int) -> Json:
    values: Json = {
        "flops": flops,
        "least": 1,
        "front": None,
        "problem": None,
        "rows": [],
        "chart": None,
    }
    if job.library_id is None:
        return values
    try:
        values["least"] = _least(stores.libraries.get(job.library_id).teacher_cost, stores, job)
        front = predict(job.library_id, {"flops": f"{flops}%", "params": None}, stores)
    except (InvalidSpec, Conflict, NotFound) as error:
        return values | {"problem": refusal(error)}
    teacher = None if job.profile is None else job.profile["teacher"]["accuracy"]
    rows = _rows(job, stores, front, teacher)
    plans = [
        Predicted(row["point"].flops_ratio, row["point"].score, row["accuracy"]) for row in rows
    ]
    return values | {"front": front, "rows": rows, "chart": prediction_chart(plans, teacher)}


def _least(teacher: Json, stores: Stores, job: Job) -> int:
    assert job.library_id is not None
    whole = teacher["flops"] + teacher.get("adds", 0)
    saved: dict[str, int] = {}
    for entry in stores.libraries.entries(job.library_id):
        if entry.score is not None:
            saved[entry.block] = min(saved.get(entry.block, 0), _change(entry))
    return min(100, int(100 * (whole + sum(saved.values())) / whole) + 1) if whole else 1


def _change(entry: Entry) -> int:
    return entry.flops + entry.adds


def _rows(job: Job, stores: Stores, front: PredictedFrontView, teacher: float | None) -> list[Json]:
    """Cheapest first; `accuracy` is None where trials do not tell (yet) what a score means."""
    tried = dots(stores.database, job.id, "flops")
    translation = None if teacher is None else Translation.of(tried, teacher)
    ordered: Sequence[PredictedPoint] = sorted(front.points, key=lambda point: point.flops)
    return [
        {"point": each, "accuracy": translation and translation.accuracy(each.score)}
        for each in ordered
    ]
