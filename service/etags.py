"""Conditional requests: whether the client already has what it asks for (RFC 9110, 13.1.2)."""

from typing import Annotated

from fastapi import Header

IfNoneMatch = Annotated[
    str | None, Header(description="the `ETag` of an earlier answer; 304 if it still holds")
]


def is_current(if_none_match: str | None, etag: str) -> bool:
    """Whether one of the client's tags is this one; weak tags count, as they do for a GET."""
    if if_none_match is None:
        return False
    tags = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
    return "*" in tags or etag in tags
