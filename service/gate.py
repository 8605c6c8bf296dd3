"""The gate: who asks, and what he may. Passed before the body of a request is read.

Without a token ever made the server asks nobody, and answers its own machine alone.
"""

from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from pareconv.service.errors import ScopeMissing, Unauthenticated
from pareconv.service.origins import SAFE, require_own_page, require_this_machine
from pareconv.service.request_limit import RequestLimit
from pareconv.storage.access import EVERYTHING, Access
from pareconv.storage.tokens import Scope, Token, TokenStore


@dataclass(frozen=True, slots=True)
class Credential:
    """A token's secret as it came."""

    secret: str
    is_cookie: bool = False


class Gate:
    """The gate of one server. Threads may share it."""

    def __init__(self, tokens: TokenStore, limit: RequestLimit) -> None:
        self._tokens = tokens
        self._limit = limit
        self._are_asked_for = False

    async def admit(self, request: HTTPConnection, needed: Scope) -> Access:
        """What the caller sees. Raises Unauthenticated, ScopeMissing, Foreign, TooManyRequests."""
        return await run_in_threadpool(self._admitted, request, needed)

    def token(self, request: HTTPConnection, secret: str) -> Token:
        """The token of that secret; Unauthenticated, TooManyRequests."""
        token = self._tokens.authenticate(secret)
        if token is None:
            # Of his address, so that who guesses is not a new one with each guess.
            self._limit.take(_address(request))
            raise Unauthenticated("this token is unknown or revoked", error="invalid_token")
        self._limit.take(token.id)
        return token

    def _admitted(self, request: HTTPConnection, needed: Scope) -> Access:
        if not self._asks():
            require_this_machine(request)
            self._limit.take(_address(request))
            return EVERYTHING
        credential = _credential(request)
        if credential is None:
            self._limit.take(_address(request))
            raise Unauthenticated("this call needs a token")
        token = self.token(request, credential.secret)
        if credential.is_cookie and request.scope["method"] not in SAFE:
            require_own_page(request)
        if not token.scope.includes(needed):
            raise ScopeMissing(needed, token.scope)
        return token.access

    def _asks(self) -> bool:
        # Once it asks it always does: only a no is looked up again.
        self._are_asked_for = self._are_asked_for or self._tokens.are_asked_for()
        return self._are_asked_for


def cookie_name(request: HTTPConnection) -> str:
    """Over TLS a name that browsers take from this host alone, for all of it, over TLS."""
    is_safe = request.scope["scheme"] == "https"
    return "__Host-pareconv_session" if is_safe else "pareconv_session"


def _credential(request: HTTPConnection) -> Credential | None:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and secret.strip():
        return Credential(secret.strip())
    cookie = request.cookies.get(cookie_name(request))
    return Credential(cookie, is_cookie=True) if cookie else None


def _address(request: HTTPConnection) -> str:
    return request.client.host if request.client else "unknown"
