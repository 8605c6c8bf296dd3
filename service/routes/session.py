"""Routes of the session: a token becomes the cookie of a browser, and goes again."""

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, SecretStr

from pareconv.service.dependencies import require_json
from pareconv.service.gate import Gate, cookie_name
from pareconv.service.origins import refuse_foreign_page
from pareconv.service.problems import documented
from pareconv.service.scoped_route import ScopedRoute, open_to_all
from pareconv.storage.scopes import Scope

router = APIRouter(prefix="/session", tags=["server"], route_class=ScopedRoute)

_SECONDS = 7 * 24 * 3600


class SessionRequest(BaseModel):
    """The token to go on with."""

    model_config = ConfigDict(extra="forbid")

    token: SecretStr


AskedSession = Annotated[SessionRequest, Body(examples=[{"token": "pareconv_..."}])]


class SessionView(BaseModel):
    """Whose session it is."""

    model_config = ConfigDict(json_schema_extra={"example": {"name": "laptop", "scope": "submit"}})

    name: str | None
    scope: Scope


@router.post(
    "",
    summary="Begin a session in a browser",
    dependencies=[Depends(require_json)],
    responses=documented(400, 408, 413, 415),
)
@open_to_all
def begin_session(asked: AskedSession, request: Request, response: Response) -> SessionView:
    """Keep the token as a cookie that no script can read and no other site's page can send.

    It lasts a week, or until the token is revoked. Only pages of this server may change things
    with it.
    """
    refuse_foreign_page(request)
    gate: Gate = request.app.state.gate
    token = gate.token(request, asked.token.get_secret_value())
    response.set_cookie(
        cookie_name(request),
        asked.token.get_secret_value(),
        max_age=_SECONDS,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return SessionView(name=token.name, scope=token.scope)


@router.delete("", status_code=204, summary="End the session of a browser")
@open_to_all
def end_session(request: Request, response: Response) -> None:
    """Make the browser forget the cookie; the token itself goes on until it is revoked."""
    refuse_foreign_page(request)
    response.delete_cookie(
        cookie_name(request),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
