"""Routes of a job's events: a page, or a stream; all of them as a log."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse
from fastapi.sse import EventSourceResponse

from pareconv.service.dependencies import InjectedStores, InjectedStreams, Limit
from pareconv.service.problems import documented
from pareconv.service.scoped_route import ScopedRoute, needs
from pareconv.service.stores import Stores
from pareconv.service.views.event import EventPage, EventView
from pareconv.storage.jobs import TERMINAL
from pareconv.storage.scopes import Scope

router = APIRouter(prefix="/jobs/{job_id}", tags=["results"], route_class=ScopedRoute)

# The greatest number that every database takes for a row.
_MAX_SEQ = 2**63 - 1
_LOG_PAGE = 1000
After = Annotated[
    int, Query(ge=0, le=_MAX_SEQ, description="only events with a `seq` above this one")
]
LastEventId = Annotated[
    int | None,
    Header(
        alias="Last-Event-ID",
        ge=0,
        le=_MAX_SEQ,
        description="where a stream goes on; stronger than `after`",
    ),
]


class Wanted(NamedTuple):
    """From where on, and whether as a stream."""

    after: int
    is_stream: bool


async def _wanted(request: Request, after: After = 0, last_event_id: LastEventId = None) -> Wanted:
    if "text/event-stream" not in request.headers.get("accept", ""):
        return Wanted(after, is_stream=False)
    return Wanted(after if last_event_id is None else last_event_id, is_stream=True)


_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'id: 41\ndata: {"seq": 41, "type": "trial", ...}\n\n',
            }
        }
    },
    204: {"description": "A stream was asked for, the job has ended and all events are known"},
}


@router.get(
    "/events",
    summary="Follow a job's events",
    response_model=EventPage,
    responses=documented(404) | _STREAM,
)
@needs(Scope.READ)
def list_events(
    job_id: str,
    stores: InjectedStores,
    streams: InjectedStreams,
    wanted: Annotated[Wanted, Depends(_wanted)],
    limit: Limit = 100,
) -> EventPage | Response:
    """A page as JSON, or, with `Accept: text/event-stream`, a stream until the job has ended.

    In the stream each event's id is its `seq`; a client that comes back with it as
    `Last-Event-ID` misses none. 204 tells it not to come back.
    """
    job = stores.jobs.get(job_id)
    after = wanted.after
    if wanted.is_stream:
        # In this order: an event written before the job ended is seen by the read after it.
        if job.status in TERMINAL and not stores.events.page(job_id, after, 1):
            return Response(status_code=204)
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        return EventSourceResponse(streams.follow(job_id, after), headers=headers)
    found = stores.events.page(job_id, after, limit + 1)
    items = [EventView.of(each) for each in found[:limit]]
    return EventPage(items=items, next=items[-1].seq if len(found) > limit else None)


@router.get(
    "/log",
    summary="Read a job's log",
    response_class=PlainTextResponse,
    responses=documented(404)
    | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "the log"}},
)
@needs(Scope.READ)
def show_log(job_id: str, stores: InjectedStores) -> StreamingResponse:
    """All events as text, oldest first: time (UTC), level, type and message, and below a line what
    else is known of it, as JSON.
    """
    stores.jobs.get(job_id)
    return StreamingResponse(_lines(stores, job_id), media_type="text/plain; charset=utf-8")


def _lines(stores: Stores, job_id: str) -> Iterator[str]:
    after = 0
    while found := stores.events.page(job_id, after, _LOG_PAGE):
        for event in found:
            when = event.created_at.isoformat(timespec="seconds")
            yield f"{when} {event.level.upper():<7} {event.type}: {event.message}\n"
            if event.data:
                yield f"    {json.dumps(event.data, ensure_ascii=False, default=str)}\n"
        after = found[-1].seq
