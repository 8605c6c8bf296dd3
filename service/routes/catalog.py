"""Routes of what can be asked for, and of what a job would find."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from pareconv.service.admission import InjectedAdmission
from pareconv.service.dependencies import InjectedTasks
from pareconv.service.problems import documented
from pareconv.service.scoped_route import ScopedRoute, needs
from pareconv.service.submission import BODY, InjectedSubmission
from pareconv.service.views.catalog import ArchitectureView, MethodView, OperatorView
from pareconv.service.views.inspection import InspectionView
from pareconv.service.views.page import Page
from pareconv.storage.scopes import Scope

router = APIRouter(tags=["catalog"], route_class=ScopedRoute)

Search = Annotated[str, Query(max_length=200, description="a part of the name or the family")]


@router.get("/architectures", summary="List the teachers by name", responses=documented(503, 504))
@needs(Scope.READ)
def list_architectures(tasks: InjectedTasks, search: Search = "") -> Page[ArchitectureView]:
    wanted = search.lower()
    found = [
        each
        for each in tasks.catalog()["architectures"]
        if wanted in f"{each['name']} {each['family']}".lower()
    ]
    return Page(items=[ArchitectureView.model_validate(each) for each in found], next=None)


@router.get("/operators", summary="List the cheap operators", responses=documented(503, 504))
@needs(Scope.READ)
def list_operators(tasks: InjectedTasks) -> Page[OperatorView]:
    found = tasks.catalog()["operators"]
    return Page(items=[OperatorView.model_validate(each) for each in found], next=None)


@router.get("/methods", summary="List the distillation methods", responses=documented(503, 504))
@needs(Scope.READ)
def list_methods(tasks: InjectedTasks) -> Page[MethodView]:
    found = tasks.catalog()["methods"]
    return Page(items=[MethodView.model_validate(each) for each in found], next=None)


@router.post(
    "/inspect",
    summary="Inspect a spec without a job",
    openapi_extra={"requestBody": BODY},
    response_model=InspectionView,
    responses=documented(400, 408, 409, 413, 415, 503, 504, 507),
)
@needs(Scope.SUBMIT)
def inspect(submission: InjectedSubmission, admission: InjectedAdmission) -> dict[str, Any]:
    """Blocks, the options of each, what was left out and why, and which costs can be reached.

    Send the spec as to `POST /jobs`; files that come along are not kept.
    """
    return admission.inspect(submission)
