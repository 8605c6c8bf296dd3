"""The front that a library predicts, as the API shows it."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pareconv.service.views.inspection import AbsoluteBudget
from pareconv.service.views.library import CostView

_EXAMPLE: dict[str, Any] = {
    "library": "1m3qk7t2c5x8v0b4n6d9f1h3ja",
    "teacher": {"flops": 40927872, "adds": 0, "params": 269722},
    "budget": {"flops": 16371148, "params": None},
    "points": [
        {
            "flops": 16300000,
            "flops_ratio": 0.398,
            "adds": 0,
            "params": 104000,
            "params_ratio": 0.386,
            "score": 0.18,
            "plan": {"layer1.0": "svd(ratio=0.5)", "layer2.1": "shift"},
        }
    ],
    "seconds": 0.02,
}


class PredictedPoint(CostView):
    """A plan that no other is predicted to dominate. Ratios are of the teacher's cost."""

    flops_ratio: float = Field(description="of FLOPs and additions")
    params_ratio: float
    score: float = Field(description="how far it should be from the teacher; less is better")
    plan: dict[str, str]


class PredictedFrontView(BaseModel):
    """The plans that a library expects to be best within a budget. None of them was tried."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    library: str
    teacher: CostView
    budget: AbsoluteBudget
    points: list[PredictedPoint]
    seconds: float = Field(description="what the prediction took")
