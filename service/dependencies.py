"""What a route may ask for: the parts of the app it runs in. Knows none of the routes."""

from email.message import Message
from typing import Annotated

from fastapi import Depends, HTTPException, Query, Request

from pareconv.service.event_stream import EventStreams
from pareconv.service.fronts import Fronts
from pareconv.service.intake import Intake
from pareconv.service.settings import ServiceSettings
from pareconv.service.stores import Stores
from pareconv.service.tasks import Tasks


async def _settings(request: Request) -> ServiceSettings:
    settings: ServiceSettings = request.app.state.settings
    return settings


async def _stores(request: Request) -> Stores:
    """As far as the caller may see them."""
    stores: Stores = request.app.state.stores
    return stores.seen_with(request.state.access)


async def _tasks(request: Request) -> Tasks:
    tasks: Tasks = request.app.state.tasks
    return tasks


async def _intake(request: Request) -> Intake:
    """For what the caller brings, and may delete."""
    intake: Intake = request.app.state.intake
    return intake.seen_with(request.state.access)


async def _streams(request: Request) -> EventStreams:
    streams: EventStreams = request.app.state.streams
    return streams


async def _fronts(request: Request) -> Fronts:
    fronts: Fronts = request.app.state.fronts
    return fronts


def media_type(request: Request) -> str:
    """The request's content type, without its parameters."""
    message = Message()
    message["content-type"] = request.headers.get("content-type", "none/none")
    return message.get_content_type()


def require(request: Request, *accepted: str) -> str:
    """The media type of the body; 415 when it is none of those accepted."""
    given = media_type(request)
    if given not in accepted:
        sent = request.headers.get("content-type", "none")
        raise HTTPException(
            415, f"content type {sent!r} is not supported here; send {' or '.join(accepted)}"
        )
    return given


async def require_json(request: Request) -> None:
    require(request, "application/json")


async def require_multipart(request: Request) -> None:
    require(request, "multipart/form-data")


InjectedSettings = Annotated[ServiceSettings, Depends(_settings)]
InjectedStores = Annotated[Stores, Depends(_stores)]
InjectedTasks = Annotated[Tasks, Depends(_tasks)]
InjectedStreams = Annotated[EventStreams, Depends(_streams)]
InjectedFronts = Annotated[Fronts, Depends(_fronts)]
InjectedIntake = Annotated[Intake, Depends(_intake)]

Limit = Annotated[int, Query(ge=1, le=1000, description="items per page")]
Cursor = Annotated[str | None, Query(description="`next` of the page before")]
