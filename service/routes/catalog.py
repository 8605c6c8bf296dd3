"""Routes of what can be asked for, and of what a job would find."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query

from pareconv.search.spec import JobSpec
from pareconv.service.dependencies import InjectedStores, InjectedTasks, require_json
from pareconv.service.problems import documented
from pareconv.service.routes.jobs import SPEC_EXAMPLE
from pareconv.service.scoped_route import ScopedRoute, needs
from pareconv.service.views.catalog import ArchitectureView, MethodView, OperatorView
from pareconv.service.views.inspection import InspectionView
from pareconv.service.views.page import Page
from pareconv.storage.scopes import Scope

router = APIRouter(tags=["catalog"], route_class=ScopedRoute)

Search = Annotated[str, Query(max_length=200, description="a part of the name or the family")]
InspectedSpec = Annotated[JobSpec, Body(examples=[SPEC_EXAMPLE])]


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
    dependencies=[Depends(require_json)],
    response_model=InspectionView,
    responses=documented(400, 408, 413, 415, 503, 504),
)
@needs(Scope.SUBMIT)
def inspect(spec: InspectedSpec, tasks: InjectedTasks, stores: InjectedStores) -> dict[str, Any]:
    """Blocks, the options of each, what was left out and why, and which costs can be reached."""
    return tasks.inspect(spec, stores.access)
