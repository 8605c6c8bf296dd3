"""The events of a job as a stream (text/event-stream), until the job has ended. Changes nothing."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.concurrency import run_in_threadpool

from pareconv.service.event_view import EventView
from pareconv.service.stores import Stores
from pareconv.storage.errors import NotFound
from pareconv.storage.events import Event
from pareconv.storage.jobs import TERMINAL

_POLL_SECONDS = 0.5
_KEEPALIVE_SECONDS = 15.0
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Found:
    """Events, and whether no more will follow."""

    events: list[Event]
    is_last: bool


async def stream(stores: Stores, job_id: str, after: int) -> AsyncIterator[bytes]:
    """Every event above `after` as it comes; ends when the job has ended and all were sent."""
    last_sent = time.monotonic()
    while True:
        found = await run_in_threadpool(read, stores, job_id, after)
        for event in found.events:
            after = event.seq
            last_sent = time.monotonic()
            yield _encoded(event)
        if found.is_last:
            return
        if time.monotonic() - last_sent > _KEEPALIVE_SECONDS:
            last_sent = time.monotonic()
            yield KEEPALIVE_COMMENT
        if not found.events:
            await asyncio.sleep(_POLL_SECONDS)


def read(stores: Stores, job_id: str, after: int) -> Found:
    """The next events; a job that is gone has none and ends the stream."""
    try:
        # In this order: an event written before the job ended is seen by the read after it.
        has_ended = stores.jobs.get(job_id).status in TERMINAL
    except NotFound:
        return Found([], is_last=True)
    events = stores.events.page(job_id, after, _PAGE)
    return Found(events, is_last=has_ended and not events)


def _encoded(event: Event) -> bytes:
    data = EventView.of(event).model_dump_json()
    return format_sse_event(data_str=data, id=str(event.seq))
