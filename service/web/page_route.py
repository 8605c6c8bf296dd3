"""Page routes: what is refused on them is answered with a page, not with a problem as JSON."""

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from pareconv.service.errors import TABLE
from pareconv.service.scoped_route import ScopedRoute
from pareconv.service.web.page import page
from pareconv.service.web.refusals import refusal
from pareconv.service.web.visitor import Visitor

_KNOWN: tuple[type[Exception], ...] = (
    *TABLE,
    ValidationError,
    RequestValidationError,
    HTTPException,
)


class PageRoute(ScopedRoute):
    """A route of pages. 401 shows the form to log in, anything else that is refused says why."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def shown(request: Request) -> Response:
            try:
                return await answer(request)
            except _KNOWN as error:
                return _error_page(request, error)

        return shown


def _error_page(request: Request, error: Exception) -> Response:
    problem = refusal(error)
    values = {"problem": problem, "visitor": Visitor()}
    if problem.status == HTTPStatus.UNAUTHORIZED:
        return page(request, "login", values, status=problem.status)
    return page(request, "error", values, status=problem.status)
