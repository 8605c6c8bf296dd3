"""A library as the API shows it, alone and with what is in it. Reads no store."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from pareconv.storage.libraries import Entry, Library

_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_EXAMPLE: dict[str, Any] = {
    "id": "1m3qk7t2c5x8v0b4n6d9f1h3ja",
    "key": _SHA256,
    "architecture": "cifar_resnet20",
    "name": "cifar_resnet20",
    "teacher": _SHA256,
    "data": _SHA256,
    "recipe": {"images": 20000},
    "teacher_cost": {"flops": 40927872, "adds": 0, "params": 269722},
    "compute": 1250000.0,
    "building": False,
    "created_at": "2026-11-20T19:10:31Z",
    "updated_at": "2026-11-20T19:14:02Z",
}


class CostView(BaseModel):
    """What a network costs for one image. FLOPs are fvcore's, additions those of adder layers."""

    flops: int
    adds: int
    params: int


class LibraryView(BaseModel):
    """What was distilled block by block for one teacher and its images. Jobs share it."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    id: str
    key: str = Field(description="SHA-256 of what it is of: teacher, data and recipe")
    architecture: str
    name: str = Field(description="the architecture; of a network in a file the name of that")
    teacher: str = Field(description="SHA-256 of the teacher's weights")
    data: str = Field(description="SHA-256 of the training and validation images")
    recipe: dict[str, Any]
    teacher_cost: CostView
    compute: float = Field(
        description="what building it took, in forward passes of an image through the teacher"
    )
    building: bool = Field(
        validation_alias=AliasChoices("building", "is_building"),
        description="whether a worker is building it",
    )
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, library: "Library", name: str) -> Self:
        return cls.model_validate(asdict(library) | {"name": name})


class EntryView(BaseModel):
    """One option of one block, distilled alone. The costs are its change of the teacher's."""

    block: str
    option: str
    loss: float = Field(description="how far the block is from the teacher's")
    score: float | None = Field(
        description="how far the network is from the teacher when it alone is changed"
    )
    score_stderr: float | None
    flops: int
    adds: int
    params: int
    images: int = Field(description="images seen in training")
    settled: bool = Field(
        description="no job trains it further: its loss no longer fell, others of its rung gained "
        "more, or one that costs no more is clearly better"
    )


class LibraryWithEntries(LibraryView):
    """A library with everything in it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": _EXAMPLE
            | {
                "entries": [
                    {
                        "block": "layer1.0",
                        "option": "svd(ratio=0.5)",
                        "loss": 0.031,
                        "score": 0.0042,
                        "score_stderr": 0.0003,
                        "flops": -2400000,
                        "adds": 0,
                        "params": -2300,
                        "images": 20000,
                        "settled": True,
                    }
                ],
                "front": [{"plan": {"layer1.0": "svd(ratio=0.5)"}, "score": 0.0042}],
            }
        }
    )

    entries: list[EntryView]
    front: list[dict[str, Any]] | None = Field(
        description="the front that was predicted when it was built; null until then"
    )

    @classmethod
    def with_entries(cls, library: "Library", name: str, entries: Sequence["Entry"]) -> Self:
        found = {"name": name, "entries": [asdict(each) for each in entries]}
        return cls.model_validate(asdict(library) | found)
