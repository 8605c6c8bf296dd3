"""An inspection: what a job would find, without making one."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pareconv.search.assumptions import Assumption
from pareconv.search.spec import Preparation


class InspectedTeacher(BaseModel):
    """The teacher's cost for one image, and which operators of its graph make it up."""

    flops: int
    adds: int
    params: int
    latency_ms: float | None = Field(None, description="where that is a budget and was measured")
    preparation: Preparation = Field(
        description="what it needs before it can teach: none, fine-tuning where its head is of "
        "other classes than the data, training where it has no weights"
    )
    flops_by_operator: dict[str, int | float]


class InspectedOption(BaseModel):
    """One way to rebuild a block. The costs are of the whole network with just this option."""

    option: str
    flops: int
    adds: int
    params: int
    latency_ms: float | None = None


class InspectedBlock(BaseModel):
    """A block that may be rebuilt, and how."""

    name: str
    convs: list[str]
    options: list[InspectedOption]


class LeftOut(BaseModel):
    """A convolution that stays as it is, and why."""

    name: str
    reason: str


class Range(BaseModel):
    """The least and the greatest cost that the options can reach."""

    least: int
    greatest: int


class LatencyRange(BaseModel):
    """The same in milliseconds."""

    least: float
    greatest: float


class Reachable(BaseModel):
    """A latency is there once it was measured, which a job does and an inspection does not."""

    flops: Range
    params: Range
    latency_ms: LatencyRange | None = None


class AbsoluteBudget(BaseModel):
    flops: int | None
    params: int | None


class InspectedBudget(AbsoluteBudget):
    """A share of a latency that was not measured is not known."""

    latency_ms: float | None = None


class ImageCounts(BaseModel):
    train: int
    validation: int | None = Field(description="null where they are held out of train")
    held_out: int | None = Field(None, description="how many of train are held out to validate")
    test: int


_EXAMPLE: dict[str, Any] = {
    "teacher": {
        "flops": 12500000,
        "adds": 0,
        "params": 78042,
        "preparation": "training",
        "flops_by_operator": {"conv": 12300000, "batch_norm": 190000, "linear": 640},
    },
    "classes": ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    "images": {"train": 1437, "validation": None, "held_out": 287, "test": 360},
    "image_size": 32,
    "blocks": [
        {
            "name": "layer1.0",
            "convs": ["layer1.0.conv1", "layer1.0.conv2"],
            "options": [{"option": "svd(ratio=0.5)", "flops": 9100000, "adds": 0, "params": 75000}],
        }
    ],
    "left_out": [{"name": "conv1", "reason": "the first convolution has 3 input channels"}],
    "budget": {"flops": 6250000, "params": None, "latency_ms": None},
    "reachable": {
        "flops": {"least": 1900000, "greatest": 12500000},
        "params": {"least": 11000, "greatest": 78042},
    },
    "assumptions": [],
}


class InspectionView(BaseModel):
    """Teacher, data and budget together: what can be rebuilt, and what that can reach."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    teacher: InspectedTeacher
    classes: list[str]
    images: ImageCounts
    image_size: int = Field(description="side in pixels")
    blocks: list[InspectedBlock]
    left_out: list[LeftOut]
    budget: InspectedBudget
    reachable: Reachable
    assumptions: list[Assumption] = []
