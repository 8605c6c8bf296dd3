"""Route of a job's events: a page, or a stream."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.sse import EventSourceResponse

from pareconv.service.dependencies import InjectedStores, Limit
from pareconv.service.event_stream import read, stream
from pareconv.service.event_view import EventPage, EventView
from pareconv.service.problems import documented
from pareconv.service.scoped_route import ScopedRoute, needs
from pareconv.storage.scopes import Scope

router = APIRouter(prefix="/jobs/{job_id}", tags=["results"], route_class=ScopedRoute)

# The greatest number that every database takes for a row.
_MAX_SEQ = 2**63 - 1
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
    request: Request,
    job_id: str,
    stores: InjectedStores,
    after: After = 0,
    limit: Limit = 100,
    last_event_id: LastEventId = None,
) -> EventPage | Response:
    """A page as JSON, or, with `Accept: text/event-stream`, a stream until the job has ended.

    In the stream each event's id is its `seq`; a client that comes back with it as
    `Last-Event-ID` misses none. 204 tells it not to come back.
    """
    stores.jobs.get(job_id)
    if "text/event-stream" in request.headers.get("accept", ""):
        return _streamed(stores, job_id, after if last_event_id is None else last_event_id)
    found = stores.events.page(job_id, after, limit + 1)
    items = [EventView.of(each) for each in found[:limit]]
    return EventPage(items=items, next=items[-1].seq if len(found) > limit else None)


def _streamed(stores: InjectedStores, job_id: str, after: int) -> Response:
    if read(stores, job_id, after).is_last:
        return Response(status_code=204)
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return EventSourceResponse(stream(stores, job_id, after), headers=headers)
