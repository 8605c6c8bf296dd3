"""The events of jobs as streams (text/event-stream), each until its job has ended.

However many listen, one task alone asks the database what is new, of all their jobs at once, twice
a second; who listens holds neither a thread nor a connection. Changes nothing.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.concurrency import run_in_threadpool

from pareconv.service.views.event import EventView
from pareconv.storage.errors import StorageError
from pareconv.storage.events import Event, EventStore

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_AWAY_SECONDS = 2.0  # between two questions to a database that does not answer
_KEEPALIVE_SECONDS = 15.0
_PAGE = 500
_REMEMBERED = 1000


class _Sent(NamedTuple):
    seq: int
    data: bytes


class _Channel:
    """What is new of one job: the last events after `floor`, for all who listen."""

    def __init__(self, floor: int) -> None:
        self.floor = self.last = floor
        self.has_ended = False
        self.listeners = 0
        self._recent: deque[_Sent] = deque()
        self._news = asyncio.Event()

    def add(self, event: Event) -> None:
        self.last = event.seq
        self._recent.append(_encoded(event))
        if len(self._recent) > _REMEMBERED:
            self.floor = self._recent.popleft().seq

    def wake(self) -> None:
        """Tell those who wait now."""
        self._news.set()
        self._news = asyncio.Event()

    def above(self, seq: int) -> list[_Sent]:
        return [each for each in self._recent if each.seq > seq]

    async def wait(self, seconds: float) -> None:
        """Until something is new, or the time is over."""
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:
            return


class EventStreams:
    """The streams of one server. All but the questions to the database runs in its event loop."""

    def __init__(self, events: EventStore) -> None:
        self._events = events
        self._channels: dict[str, _Channel] = {}
        self._asking: asyncio.Task[None] | None = None

    async def follow(self, job_id: str, after: int) -> AsyncIterator[bytes]:
        """Every event above `after` as it comes; ends when the job has ended and all were sent."""
        floor = await run_in_threadpool(self._events.last, job_id)
        with self._listening(job_id, floor) as channel:
            last_sent = time.monotonic()
            while True:
                has_ended = channel.has_ended  # before what is sent: no event follows it
                for each in await self._next(job_id, after, channel):
                    after = each.seq
                    last_sent = time.monotonic()
                    yield each.data
                if after < channel.last:
                    continue  # there is more
                if has_ended:
                    return
                quiet = time.monotonic() - last_sent
                await channel.wait(max(0.0, _KEEPALIVE_SECONDS - quiet))
                if time.monotonic() - last_sent >= _KEEPALIVE_SECONDS:
                    last_sent = time.monotonic()
                    yield KEEPALIVE_COMMENT

    def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    async def _next(self, job_id: str, after: int, channel: _Channel) -> list[_Sent]:
        """What follows `after`: of the channel, or of the database where that lies further back."""
        if after >= channel.floor:
            return channel.above(after)
        floor = channel.floor
        found = await run_in_threadpool(self._events.page, job_id, after, _PAGE)
        # Where the job was deleted meanwhile there is nothing up to the floor.
        return [_encoded(each) for each in found] or [_Sent(floor, KEEPALIVE_COMMENT)]

    @contextmanager
    def _listening(self, job_id: str, floor: int) -> Iterator[_Channel]:
        channel = self._channels.setdefault(job_id, _Channel(floor))
        channel.listeners += 1
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        try:
            yield channel
        finally:
            channel.listeners -= 1
            if channel.listeners == 0:
                del self._channels[job_id]

    async def _ask(self) -> None:
        """Ask what is new while anybody listens."""
        while self._channels:
            try:
                await self._ask_once()
            except StorageError as error:
                logger.warning("the streams of events wait: %s", error)
                await asyncio.sleep(_AWAY_SECONDS)
            except Exception:  # nobody waits for this task: who listens would never know
                logger.exception("the streams of events wait")
                await asyncio.sleep(_AWAY_SECONDS)
            await asyncio.sleep(_POLL_SECONDS)

    async def _ask_once(self) -> None:
        asked = dict(self._channels)
        news = await run_in_threadpool(
            self._events.news, {job: channel.last for job, channel in asked.items()}
        )
        for event in news.events:
            asked[event.job_id].add(event)
        for job, channel in asked.items():
            channel.has_ended = job in news.ended
        for job in {event.job_id for event in news.events} | news.ended:
            asked[job].wake()


def _encoded(event: Event) -> _Sent:
    data = EventView.of(event).model_dump_json()
    return _Sent(event.seq, format_sse_event(data_str=data, id=str(event.seq)))
