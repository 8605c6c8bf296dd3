"""Requests: each gets an id, a line in the log, and a place in the latencies. Answers none."""

import logging
import re
import time
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from pareconv.service.metrics import Latencies
from pareconv.storage import logs
from pareconv.storage.ids import new_id

logger = logging.getLogger(__name__)

HEADER = "X-Request-ID"
_USABLE = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Requests:
    """ASGI middleware. The id is the client's own, in X-Request-ID, where it is one to rely on; in
    the log it stands with all that was done for the request.

    A latency is the time until the answer begins: a stream of events has no other.
    """

    def __init__(self, app: ASGIApp, latencies: Latencies) -> None:
        self._app = app
        self._latencies = latencies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        id, started = _id(scope), time.perf_counter()

        async def send_with_id(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = id
                self._note(scope, message["status"], time.perf_counter() - started)
            await send(message)

        with logs.about(request_id=id):
            await self._app(scope, receive, send_with_id)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        self._latencies.note(scope["method"], _route(scope), status, seconds)
        # Who watches a job asks twice a second: that would hide everything else.
        is_quiet = scope["method"] in _READING and status < 400
        logger.log(
            logging.DEBUG if is_quiet else logging.INFO,
            "%s %s: %d in %.1f ms",
            scope["method"],
            scope["path"],
            status,
            1000 * seconds,
            extra={
                "fields": {
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": status,
                    "seconds": round(seconds, 6),
                }
            },
        )


def _id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == HEADER.lower().encode():
            given: str = value.decode("latin-1")
            return given if _USABLE.fullmatch(given) else new_id()
    return new_id()


def _route(scope: Scope) -> str:
    """The path as it was declared, `/jobs/{job_id}`: of paths as they are asked there is no end."""
    return getattr(scope.get("route"), "path", "unknown")
