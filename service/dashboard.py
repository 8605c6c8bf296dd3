"""The Optuna dashboard over the same database, read-only unless allowed. Loaded when first asked.

Its bundle calls four absolute paths, so exactly those go to it, unstripped. Two flaws of 0.21 are
mended on the way: it answers 500 to a request without Accept-Encoding, and deletes studies for
anyone who asks.
"""

import asyncio
import re
from collections.abc import Callable
from typing import cast

from a2wsgi import WSGIMiddleware
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pareconv.service.errors import ReadOnly
from pareconv.service.gate import Gate
from pareconv.storage.scopes import Scope as TokenScope

_PATHS = (
    "/dashboard",
    "/dashboard/{rest:path}",
    "/api/{rest:path}",
    "/static/{rest:path}",
    "/artifacts/{rest:path}",
)
# Its own, which has no word on who may frame it: its charts compile code, and it styles in place.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_REFUSES_GZIP = re.compile(r"gzip\s*;\s*q=0(\.0*)?\s*(,|$)")
_THREADS = 4


class Dashboard:
    """An ASGI app. `url_of` gives the database's SQLAlchemy URL once it is open."""

    def __init__(self, url_of: Callable[[], str], *, is_writable: bool) -> None:
        self._url_of = url_of
        self._is_writable = is_writable
        self._building = asyncio.Lock()
        self._app: WSGIMiddleware | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gate: Gate = scope["app"].state.gate
        await gate.admit(Request(scope), TokenScope.ADMIN)  # it shows every study
        if scope["method"] not in _READING and not self._is_writable:
            raise ReadOnly(
                "the dashboard may only be looked at here; set PARECONV_DASHBOARD_WRITABLE=true "
                "on the server to allow changes"
            )
        headers = MutableHeaders(scope=scope)
        # It knows gzip and the plain file, and takes any other word of ours for the latter.
        headers["accept-encoding"] = _encoding(headers.get("accept-encoding", ""))
        app: ASGIApp = await self._built()
        await app(scope, receive, _with_policy(send))

    def mount(self, app: FastAPI) -> None:
        for path in _PATHS:
            app.router.routes.append(Route(path, self, include_in_schema=False))

    def close(self) -> None:
        if self._app is not None:
            self._app.executor.shutdown(wait=False)

    async def _built(self) -> ASGIApp:
        async with self._building:
            if self._app is None:
                self._app = await run_in_threadpool(_build, self._url_of())
            # Its own types say the same of ASGI in other words.
            return cast(ASGIApp, self._app)


def _build(url: str) -> WSGIMiddleware:
    # Heavy, and needed by nothing else in this process.
    import optuna
    import optuna_dashboard

    return WSGIMiddleware(optuna_dashboard.wsgi(optuna.storages.get_storage(url)), _THREADS)


def _with_policy(send: Send) -> Send:
    async def send_with_policy(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["content-security-policy"] = _POLICY
        await send(message)

    return send_with_policy


def _encoding(accepted: str) -> str:
    accepts_gzip = "gzip" in accepted and not _REFUSES_GZIP.search(accepted)
    return "gzip" if accepts_gzip else "identity"
