"""Routes of the server itself: alive, ready, version."""

import platform
from importlib.metadata import version
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict, Field

from pareconv.service.dependencies import InjectedStores, InjectedTasks
from pareconv.service.errors import NotReady
from pareconv.service.metrics import Latencies, exposition
from pareconv.service.problems import documented
from pareconv.service.scoped_route import ScopedRoute, needs, open_to_all
from pareconv.service.stores import Stores
from pareconv.storage.errors import FilesUnavailable, Unavailable
from pareconv.storage.scopes import Scope

router = APIRouter(tags=["server"], route_class=ScopedRoute)

API_VERSION = "1"


class Health(BaseModel):
    """The server answers."""

    model_config = ConfigDict(json_schema_extra={"example": {"status": "ok"}})

    status: Literal["ok"] = "ok"


class Readiness(Health):
    """What the server rests on works, too."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"status": "ok", "database": "ok", "files": "ok", "tasks": "ok"}
        }
    )

    database: Literal["ok"] = "ok"
    files: Literal["ok"] = "ok"
    tasks: Literal["ok"] = "ok"


class Version(BaseModel):
    """What is running."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"pareconv": "0.1.0", "python": "3.12.8", "api": "1"}}
    )

    pareconv: str
    python: str
    api: str = Field(description="grows when an answer changes its meaning")


@router.get("/healthz", summary="Tell that the server lives")
@open_to_all
async def healthz() -> Health:
    """Rests on nothing: neither the database nor a free thread."""
    return Health()


@router.get("/readyz", summary="Tell whether it can work", responses=documented(503))
@open_to_all
def readyz(stores: InjectedStores, tasks: InjectedTasks) -> Readiness:
    """Ask the database, write a file where the artifacts go, and look whether the process that
    checks networks and data runs. `errors` names each that fails.
    """
    found = {
        "database": _database_failure(stores),
        "files": _files_failure(stores),
        "tasks": tasks.failure(),
    }
    if failures := {name: reason for name, reason in found.items() if reason is not None}:
        raise NotReady(failures)
    return Readiness()


@router.get(
    "/metrics",
    summary="Tell Prometheus how things stand",
    response_class=PlainTextResponse,
    responses=documented(503) | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
@needs(Scope.READ)
def metrics(request: Request, stores: InjectedStores) -> Response:
    """Jobs, trials, times and workers of the whole database, whoever's they are, as numbers alone;
    and the latencies of this process.
    """
    latencies: Latencies = request.app.state.latencies
    return Response(exposition(stores.statistics, latencies), media_type=CONTENT_TYPE_LATEST)


@router.get("/version", summary="Tell the versions")
@open_to_all
async def show_version() -> Version:
    return Version(pareconv=version("pareconv"), python=platform.python_version(), api=API_VERSION)


def _database_failure(stores: Stores) -> str | None:
    try:
        stores.database.check()
    except Unavailable as error:
        return f"{error}; check PARECONV_DATABASE_URL and that it runs"
    return None


def _files_failure(stores: Stores) -> str | None:
    try:
        stores.files.check()
    except FilesUnavailable as error:
        return f"artifacts: {error}; check PARECONV_ARTIFACTS_URL, its rights and the disk"
    return None
