"""Routes of the server itself: alive, ready, version."""

import io
import platform
from importlib.metadata import version
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from pareconv.service.dependencies import InjectedStores
from pareconv.service.errors import NotReady
from pareconv.service.problems import documented
from pareconv.service.stores import Stores
from pareconv.storage.errors import Unavailable

router = APIRouter(tags=["server"])

API_VERSION = "1"


class Health(BaseModel):
    """The server answers."""

    model_config = ConfigDict(json_schema_extra={"example": {"status": "ok"}})

    status: Literal["ok"] = "ok"


class Version(BaseModel):
    """What is running."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"pareconv": "0.1.0", "python": "3.12.8", "api": "1"}}
    )

    pareconv: str
    python: str
    api: str = Field(description="grows when an answer changes its meaning")


@router.get("/healthz", summary="Tell that the server lives")
async def healthz() -> Health:
    """Rests on nothing: neither the database nor a free thread."""
    return Health()


@router.get("/readyz", summary="Tell whether it can work", responses=documented(503))
def readyz(stores: InjectedStores) -> Health:
    """Ask the database, and write a file where the artifacts go."""
    failures = [text for text in (_database_failure(stores), _files_failure(stores)) if text]
    if failures:
        raise NotReady("; ".join(failures))
    return Health()


@router.get("/version", summary="Tell the versions")
async def show_version() -> Version:
    return Version(pareconv=version("pareconv"), python=platform.python_version(), api=API_VERSION)


def _database_failure(stores: Stores) -> str | None:
    try:
        stores.database.check()
    except Unavailable as error:
        return f"database: {error}; check PARECONV_DATABASE_URL and that it runs"
    return None


def _files_failure(stores: Stores) -> str | None:
    try:
        sha256, _ = stores.files.put_stream(io.BytesIO(b"written to see that it can be"))
        stores.files.delete(sha256)
    except OSError as error:
        return f"artifacts: {error}; check PARECONV_ARTIFACTS_URL, its rights and the disk"
    return None
