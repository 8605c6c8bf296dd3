"""An upload as the API shows it. Reads no store."""

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from pareconv.storage.uploads import Kind, Upload


class UploadView(BaseModel):
    """A file that was sent and checked."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "1m3qjx0y6bq3c8z5w9d2e7f4ga",
                "reference": "teacher:1m3qjx0y6bq3c8z5w9d2e7f4ga",
                "name": "resnet20",
                "filename": "resnet20.pt",
                "bytes": 1113000,
                "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "summary": {"format": "torch", "tensors": 130, "parameters": 272474},
                "created_at": "2026-11-20T19:10:02Z",
            }
        }
    )

    id: str
    reference: str = Field(description="what a job spec calls it")
    name: str
    filename: str
    bytes: int
    sha256: str
    summary: dict[str, Any] = Field(
        repr=False,
        description="what the check found in it; of images "
        "the size, the counts, the statistics and, but for a list, thumbnails as JPEG in base64",
    )
    created_at: datetime

    @classmethod
    def brief(cls, kind: "Kind", upload: "Upload") -> Self:
        """For a list: without pictures."""
        summary = {name: found for name, found in upload.summary.items() if name != "thumbnails"}
        return cls.of(kind, replace(upload, summary=summary))

    @classmethod
    def of(cls, kind: "Kind", upload: "Upload") -> Self:
        return cls(
            id=upload.id,
            reference=f"{kind}:{upload.id}",
            name=upload.name,
            filename=upload.filename,
            bytes=upload.size_bytes,
            sha256=upload.sha256,
            summary=upload.summary,
            created_at=upload.created_at,
        )
