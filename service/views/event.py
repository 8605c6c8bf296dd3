"""An event as the API shows it, alone or in a stream. Reads no store."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from pareconv.storage.events import Event


class EventView(BaseModel):
    """One thing that happened to a job."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "example": {
                "seq": 41,
                "level": "info",
                "type": "trial",
                "message": "trial 7: accuracy 92.9% at 49.6% of the FLOPs",
                "data": {"trial": 7},
                "created_at": "2026-11-20T19:13:05Z",
            }
        },
    )

    seq: int = Field(description="grows with time; the id in a stream")
    level: Literal["info", "warning", "error"]
    type: str
    message: str
    data: dict[str, Any]
    created_at: datetime

    @classmethod
    def of(cls, event: "Event") -> Self:
        return cls.model_validate(event)

    def __str__(self) -> str:
        """A line for people, in the time of where it is read."""
        mark = "" if self.level == "info" else f"{self.level}: "
        return f"{self.created_at.astimezone():%H:%M:%S} {mark}{self.message}"


class EventPage(BaseModel):
    """Some events, oldest first."""

    items: list[EventView]
    next: int | None = Field(description="`after` of the next page; null when there is none yet")
