"""The limits of a request's body in bytes and seconds, as it comes. Knows nothing of what it is."""

import asyncio
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pareconv.service.errors import plain_problem
from pareconv.service.problems import ProblemResponse


class BodyLimit:
    """Answers 413 to a body that says it is too large, and stops one that turns out to be.

    `limit_of` gives the bytes that a request may have. One that takes longer than `limit_seconds`
    to come whole is stopped with 408.
    """

    def __init__(
        self, app: ASGIApp, limit_of: Callable[[Scope], int], limit_seconds: float
    ) -> None:
        self._app = app
        self._limit_of = limit_of
        self._limit_seconds = limit_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit_of(scope)
        if _announced_bytes(scope) > limit:
            response = ProblemResponse(plain_problem(413, _refusal(limit)))
            await response(scope, receive, send)
            return
        timed = _timed(receive, self._limit_seconds)
        await self._app(scope, _counted(timed, limit), send)


def _announced_bytes(scope: Scope) -> int:
    length = Headers(scope=scope).get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else 0


def _counted(receive: Receive, limit: int) -> Receive:
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise HTTPException(413, _refusal(limit))
        return message

    return counted


def _timed(receive: Receive, limit_seconds: float) -> Receive:
    is_whole = False
    ends_at: float | None = None

    async def timed() -> Message:
        nonlocal is_whole, ends_at
        if is_whole:  # what may come now is the client's going away
            return await receive()
        ends_at = ends_at or asyncio.get_running_loop().time() + limit_seconds
        try:
            async with asyncio.timeout_at(ends_at):
                message = await receive()
        except TimeoutError as error:
            raise HTTPException(408, _lateness(limit_seconds)) from error
        is_whole = not message.get("more_body", False)
        return message

    return timed


def _lateness(limit_seconds: float) -> str:
    return (
        f"the body did not come within {limit_seconds:g} s; send it over a faster connection, or "
        "raise PARECONV_MAX_UPLOAD_SECONDS on the server"
    )


def _refusal(limit: int) -> str:
    return (
        f"the body is larger than the limit of {limit:,} bytes; send less, or raise "
        "PARECONV_MAX_BODY_BYTES (uploads: PARECONV_MAX_UPLOAD_BYTES) on the server"
    )
