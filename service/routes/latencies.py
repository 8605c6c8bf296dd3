"""Routes of latencies: bundles of what is to be timed elsewhere, and the tables that come back."""

import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Response
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from pareconv.search.spec import JobSpec
from pareconv.service.dependencies import (
    Cursor,
    InjectedStores,
    InjectedTasks,
    Limit,
    require_json,
)
from pareconv.service.problems import documented
from pareconv.service.scoped_route import ScopedRoute, needs
from pareconv.service.submission import SPEC_EXAMPLE
from pareconv.service.views.latency import (
    NEW_TABLE_EXAMPLE,
    LatencyTableView,
    LatencyTableWithEntries,
    NewLatencyTable,
)
from pareconv.service.views.page import Page
from pareconv.storage.latencies import Latency
from pareconv.storage.scopes import Scope

router = APIRouter(prefix="/latencies", tags=["latencies"], route_class=ScopedRoute)

_LATENCY = {"latency": {"ms": "60%", "runtime": "onnxruntime", "batch": 1, "threads": 1}}
TimedSpec = Annotated[JobSpec, Body(examples=[SPEC_EXAMPLE | {"budget": _LATENCY}])]

BroughtTable = Annotated[NewLatencyTable, Body(examples=[NEW_TABLE_EXAMPLE])]


@router.post(
    "/bundles",
    summary="Bundle what a spec needs timed",
    dependencies=[Depends(require_json)],
    response_class=FileResponse,
    responses=documented(400, 408, 413, 415, 503, 504)
    | {200: {"content": {"application/zip": {}}, "description": "a zip of ONNX files"}},
)
@needs(Scope.SUBMIT)
def make_bundle(spec: TimedSpec, tasks: InjectedTasks, stores: InjectedStores) -> FileResponse:
    """The teacher and every option of every block as ONNX files, in one zip.

    `pareconv measure` times it on the device that counts and brings the table to `POST /latencies`.
    """
    with tempfile.NamedTemporaryFile(suffix=".zip", delete=False) as file:
        path = Path(file.name)
    try:
        tasks.bundle(spec, stores.access, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return FileResponse(
        path,
        media_type="application/zip",
        filename="bundle.zip",
        background=BackgroundTask(path.unlink, missing_ok=True),
    )


@router.post(
    "",
    status_code=201,
    summary="Bring a latency table",
    dependencies=[Depends(require_json)],
    responses=documented(400, 408, 413, 415),
)
@needs(Scope.SUBMIT)
def add_table(table: BroughtTable, stores: InjectedStores, response: Response) -> LatencyTableView:
    """Keep what was measured. Of the same device, conditions and versions there is one table: what
    it lacks is added, what it has stays.
    """
    found = stores.latencies.open(**table.subject)
    stores.latencies.put(found.id, [Latency(**each.model_dump()) for each in table.entries])
    response.headers["location"] = f"/latencies/{found.id}"
    return LatencyTableView.of(stores.latencies.get(found.id))


@router.get("", summary="List the latency tables, newest first")
@needs(Scope.READ)
def list_tables(
    stores: InjectedStores, limit: Limit = 20, cursor: Cursor = None
) -> Page[LatencyTableView]:
    found, following = stores.latencies.page(limit, cursor)
    return Page(items=[LatencyTableView.of(each) for each in found], next=following)


@router.get("/{id}", summary="Show a latency table", responses=documented(404))
@needs(Scope.READ)
def show_table(id: str, stores: InjectedStores) -> LatencyTableWithEntries:
    """The table with every latency in it."""
    return LatencyTableWithEntries.with_entries(
        stores.latencies.get(id), stores.latencies.latencies(id)
    )


@router.delete(
    "/{id}", status_code=204, summary="Delete a latency table", responses=documented(404)
)
@needs(Scope.SUBMIT)
def delete_table(id: str, stores: InjectedStores) -> None:
    """Forget a table. What a later job needs of it is measured again."""
    stores.latencies.delete(id)
