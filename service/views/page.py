"""A page of a list, the same for every list. Knows none of the items."""

from typing import Generic, TypeVar

from pydantic import BaseModel, Field

Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """Some items, and where the next page begins."""

    items: list[Item]
    next: str | None = Field(description="`cursor` of the next page; null after the last")
