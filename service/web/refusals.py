"""A refusal: any error that a page may run into, as the problem that the API would answer."""

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from pareconv.service.errors import plain_problem, problem
from pareconv.service.field_errors import field_errors
from pareconv.service.problems import TITLES, Problem


def refusal(error: Exception) -> Problem:
    """The problem, with the fields at fault where there are some."""
    if isinstance(error, ValidationError | RequestValidationError):
        errors = field_errors(error.errors())
        detail = "; ".join(f"{each.field}: {each.message}" for each in errors)
        return Problem(
            type="/problems/invalid-request",
            title=TITLES[422],
            status=422,
            detail=detail,
            errors=errors,
        )
    if isinstance(error, HTTPException):
        return plain_problem(error.status_code, str(error.detail))
    return problem(error)
