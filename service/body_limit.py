"""The limit of a request's body, counted while it streams in. Knows nothing of what is in it."""

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pareconv.service.errors import plain_problem
from pareconv.service.problems import ProblemResponse


class BodyLimit:
    """Answers 413 to a body that says it is too large, and stops one that turns out to be.

    `limit_of` gives the bytes that a request may have.
    """

    def __init__(self, app: ASGIApp, limit_of: Callable[[Scope], int]) -> None:
        self._app = app
        self._limit_of = limit_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit_of(scope)
        if _announced_bytes(scope) > limit:
            response = ProblemResponse(plain_problem(413, _refusal(limit)))
            await response(scope, receive, send)
            return
        await self._app(scope, _counted(receive, limit), send)


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


def _refusal(limit: int) -> str:
    return (
        f"the body is larger than the limit of {limit:,} bytes; send less, or raise "
        "PARECONV_MAX_BODY_BYTES (uploads: PARECONV_MAX_UPLOAD_BYTES) on the server"
    )
