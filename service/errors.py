"""The only table from error class to HTTP status and problem type. The errors know no HTTP."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from pareconv.models.errors import ModelError
from pareconv.search.errors import InvalidSpec, OutOfMemory, SearchError, TaskDied, TaskTimeout
from pareconv.service.field_errors import field_errors
from pareconv.service.problems import TITLES, FieldError, Problem, ProblemResponse
from pareconv.service.security_headers import HEADERS
from pareconv.storage.errors import (
    Conflict,
    CorruptFile,
    FileMissing,
    FilesUnavailable,
    InvalidCursor,
    NotFound,
    QuotaReached,
    StorageError,
    TooLarge,
    Unavailable,
)
from pareconv.storage.scopes import Scope

logger = logging.getLogger(__name__)


class ServiceError(Exception):
    """A request cannot be served; the message is for whoever sent it, `headers` for his program."""

    headers: Mapping[str, str] = MappingProxyType({})


class IdempotencyKeyReused(ServiceError):
    """The key came with another request before."""


class Busy(ServiceError):
    """Too many checks wait for their turn already."""


class NotReady(ServiceError):
    """Something that the service rests on does not work: what, and why."""

    def __init__(self, failures: dict[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in failures.items()))
        self.failures = failures


class NoSuchStudent(ServiceError):
    """That trial has no file of that format; the message says which there are."""


class ReadOnly(ServiceError):
    """The dashboard may only be looked at."""


class Unauthenticated(ServiceError):
    """A token is needed, and there was none, or one that opens nothing."""

    def __init__(self, reason: str, *, error: str | None = None) -> None:
        super().__init__(
            f"{reason}; send one as `Authorization: Bearer <token>` (--token or PARECONV_TOKEN), "
            "which whoever runs the server makes with `pareconv token create`"
        )
        self.headers = {"www-authenticate": challenge(error=error)}


class ScopeMissing(ServiceError):
    """The token's scope does not include the one that the call needs."""

    def __init__(self, needed: Scope, given: Scope) -> None:
        super().__init__(
            f"this call needs a token of scope {needed}, and this one's is {given}; whoever runs "
            f"the server makes one with `pareconv token create --scope {needed}`"
        )
        self.headers = {"www-authenticate": challenge(error="insufficient_scope", scope=needed)}


class Foreign(ServiceError):
    """The request comes from another site's page, or asks for a host that this server is not."""


class TooManyRequests(ServiceError):
    """More requests than are allowed in this time."""

    def __init__(self, per_minute: int, wait_seconds: int) -> None:
        super().__init__(
            f"more than {per_minute} requests a minute (PARECONV_MAX_REQUESTS_PER_MINUTE on the "
            f"server); try again in {wait_seconds} s"
        )
        self.headers = {"retry-after": str(wait_seconds)}


class TooManyUploads(ServiceError):
    """The token has as many uploads as it may have."""


class Unguarded(ServiceError):
    """The server would listen to other machines without asking anybody for a token."""


class CannotListen(ServiceError):
    """The server's address or port is not to be had."""


class Row(NamedTuple):
    """The HTTP side of an error class."""

    status: int
    slug: str
    field: str | None = None
    retry_after_seconds: int | None = None


TABLE: dict[type[Exception], Row] = {
    InvalidSpec: Row(422, "invalid-request"),
    TaskDied: Row(422, "check-crashed"),
    OutOfMemory: Row(422, "check-crashed"),
    TaskTimeout: Row(504, "check-timeout"),
    SearchError: Row(500, "internal-error"),
    ModelError: Row(422, "unusable-network"),
    NotFound: Row(404, "not-found"),
    FileMissing: Row(404, "file-missing"),
    Conflict: Row(409, "conflict"),
    InvalidCursor: Row(422, "invalid-request", field="cursor"),
    TooLarge: Row(413, "too-large"),
    QuotaReached: Row(507, "quota-reached"),
    FilesUnavailable: Row(503, "files-unavailable", retry_after_seconds=5),
    CorruptFile: Row(500, "corrupt-file"),
    Unavailable: Row(503, "database-unavailable", retry_after_seconds=5),
    StorageError: Row(500, "internal-error"),
    IdempotencyKeyReused: Row(422, "idempotency-key-reused", field="Idempotency-Key"),
    NoSuchStudent: Row(404, "not-found"),
    Busy: Row(503, "busy", retry_after_seconds=10),
    NotReady: Row(503, "not-ready"),
    ReadOnly: Row(403, "dashboard-read-only"),
    Unauthenticated: Row(401, "unauthenticated"),
    ScopeMissing: Row(403, "scope-missing"),
    Foreign: Row(403, "foreign"),
    TooManyRequests: Row(429, "too-many-requests"),
    TooManyUploads: Row(409, "too-many-uploads"),
}

_CRASHED = (
    "the check of this input crashed or ran out of memory; the file is damaged, hostile or too "
    "large for this server: make a fresh copy of it, or a smaller one"
)
_INTERNAL = "an unexpected error, written to the server's log; the request was not carried out"


def problem(error: Exception) -> Problem:
    """What the table says of `error`; nothing of the inside where that says 500."""
    row = next(TABLE[each] for each in type(error).__mro__ if each in TABLE)
    detail = _detail(error, row)
    return Problem(
        type=f"/problems/{row.slug}",
        title=TITLES[row.status],
        status=row.status,
        detail=detail,
        errors=_fields(error, row, detail),
    )


def invalid(errors: list[FieldError]) -> ProblemResponse:
    """The answer to a request with these fields at fault."""
    detail = "; ".join(f"{each.field}: {each.message}" for each in errors)
    return ProblemResponse(
        Problem(
            type="/problems/invalid-request",
            title=TITLES[422],
            status=422,
            detail=detail,
            errors=errors,
        )
    )


def plain_problem(status: int, detail: str) -> Problem:
    """A problem that comes from HTTP itself, such as an unknown path."""
    phrase = HTTPStatus(status).phrase
    slug = "too-large" if status == 413 else phrase.lower().replace(" ", "-")
    title = TITLES.get(status, phrase)
    return Problem(type=f"/problems/{slug}", title=title, status=status, detail=detail)


def answer_errors(app: FastAPI) -> None:
    """Give every error that leaves a route its problem."""
    for error in TABLE:
        app.add_exception_handler(error, _answer_known)
    app.add_exception_handler(ValidationError, _answer_invalid)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(Exception, _answer_unexpected)


def _answer_known(_request: Request, error: Exception) -> ProblemResponse:
    row = next(TABLE[each] for each in type(error).__mro__ if each in TABLE)
    if row.status == 500:
        logger.error("request failed", exc_info=error)
    headers = dict(error.headers) if isinstance(error, ServiceError) else {}
    if row.retry_after_seconds is not None:
        headers["retry-after"] = str(row.retry_after_seconds)
    return ProblemResponse(problem(error), headers=headers)


def challenge(*, error: str | None = None, scope: str | None = None) -> str:
    """The `WWW-Authenticate` of RFC 6750."""
    said = {"realm": "pareconv", "error": error, "scope": scope}
    return "Bearer " + ", ".join(f'{name}="{each}"' for name, each in said.items() if each)


def _answer_invalid(_request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, ValidationError | RequestValidationError)
    details = list(error.errors())
    for each in details:
        if each["type"] == "json_invalid":
            reason = each["ctx"]["error"]
            where = f"at character {each['loc'][-1]}"
            return ProblemResponse(plain_problem(400, f"the body is not JSON: {reason} {where}"))
    return invalid(field_errors(details))


def _answer_http(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)
    detail = error.detail
    if detail == HTTPStatus(error.status_code).phrase:
        detail = f"{request.method} {request.url.path}: {detail.lower()}; /docs lists all calls"
    headers = dict(error.headers) if error.headers else None
    return ProblemResponse(plain_problem(error.status_code, detail), headers=headers)


def _answer_unexpected(_request: Request, _error: Exception) -> ProblemResponse:
    # Starlette hands the error on to the server, which logs it and then drops the connection.
    return ProblemResponse(
        Problem(type="/problems/internal-error", title=TITLES[500], status=500, detail=_INTERNAL),
        headers=HEADERS | {"connection": "close"},  # no middleware sees this answer
    )


def _detail(error: Exception, row: Row) -> str:
    if isinstance(error, (TaskDied, OutOfMemory)):
        return _CRASHED
    is_internal = row.status == 500 and not isinstance(error, CorruptFile)
    return _INTERNAL if is_internal else str(error)


def _fields(error: Exception, row: Row, detail: str) -> list[FieldError]:
    if isinstance(error, InvalidSpec):
        return [FieldError(field=error.field, message=error.message)]
    if isinstance(error, NotReady):
        return [FieldError(field=name, message=text) for name, text in error.failures.items()]
    return [] if row.field is None else [FieldError(field=row.field, message=detail)]
