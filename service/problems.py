"""A problem (RFC 9457): what every refused request is answered with. Knows no error class."""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

MEDIA_TYPE = "application/problem+json"


class FieldError(BaseModel):
    """What is wrong with one field of a request."""

    field: str = Field(description="dotted path", examples=["budget.flops"])
    message: str = Field(description="the value, the limit and the remedy")


class Problem(BaseModel):
    """Why a request was refused."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "/problems/invalid-request",
                "title": "The request is not valid",
                "status": 422,
                "detail": "search.trials: should be greater than or equal to 1, got 0",
                "errors": [
                    {
                        "field": "search.trials",
                        "message": "should be greater than or equal to 1, got 0",
                    }
                ],
            }
        }
    )

    type: str = Field(description="the same for every problem of that kind")
    title: str
    status: int
    detail: str
    errors: list[FieldError] = Field(default=[], description="the fields at fault, if any are")


class ProblemResponse(JSONResponse):
    """A problem as the answer."""

    media_type = MEDIA_TYPE

    def __init__(self, problem: Problem, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(problem.model_dump(), status_code=problem.status, headers=headers)

    def render(self, content: Any) -> bytes:
        # ASCII: a message may quote half a surrogate pair, which no other encoding takes.
        return json.dumps(content).encode()


TITLES = {
    400: "The request cannot be read",
    401: "A token is needed",
    403: "The request is not allowed",
    404: "There is no such thing",
    405: "The method is not allowed here",
    408: "The request came too slowly",
    409: "The state forbids the request",
    413: "The request is too large",
    415: "The content type is not supported",
    422: "The request is not valid",
    429: "Too many requests",
    500: "The server failed",
    503: "The server is not ready",
    504: "The request took too long",
    507: "The server has no room for it",
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that may answer with problems of these statuses."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": TITLES[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }
