"""Routes with a scope: each says who may ask, and is passed by nobody else.

The gate comes before the body: who may not ask uploads nothing.
"""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute

from pareconv.service.gate import Gate
from pareconv.storage.access import NOTHING
from pareconv.storage.scopes import Scope

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

_ATTRIBUTE = "needed_scope"


def needs(scope: Scope) -> Callable[[Endpoint], Endpoint]:
    """The call is for tokens of this scope, and those that include it."""
    return lambda endpoint: _declared(endpoint, scope)


def open_to_all(endpoint: Endpoint) -> Endpoint:
    """The call is for everybody; it sees nothing of what is somebody's."""
    return _declared(endpoint, None)


def _declared(endpoint: Endpoint, scope: Scope | None) -> Endpoint:
    setattr(endpoint, _ATTRIBUTE, scope)
    return endpoint


def _security(needed: Scope | None) -> list[dict[str, list[str]]]:
    return [] if needed is None else [{"token": [str(needed)]}, {"session": [str(needed)]}]


class ScopedRoute(APIRoute):
    """A route whose endpoint declares its scope; TypeError for one that does not."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **given: Any) -> None:
        if not hasattr(endpoint, _ATTRIBUTE):
            raise TypeError(f"{path} declares no scope: write @needs(Scope...) or @open_to_all")
        self.needed: Scope | None = getattr(endpoint, _ATTRIBUTE)
        extra = (given.pop("openapi_extra", None) or {}) | {"security": _security(self.needed)}
        super().__init__(path, endpoint, openapi_extra=extra, **given)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer, needed = super().get_route_handler(), self.needed

        async def admitted(request: Request) -> Response:
            gate: Gate = request.app.state.gate
            request.state.access = NOTHING if needed is None else await gate.admit(request, needed)
            return await answer(request)

        return admitted
