"""The measured teacher as the API shows it. Reads no store."""

from typing import Any, Self

from pydantic import BaseModel, Field


class TeacherView(BaseModel):
    """The measured teacher. Accuracies are shares, 0 to 1, null where it was never trained, FLOPs
    those of fvcore for one image.
    """

    accuracy: float | None = Field(description="on the validation split", examples=[0.941])
    test_accuracy: float | None = Field(description="on the test split, once known")
    flops: int = Field(examples=[40927872])
    adds: int = Field(description="additions of adder layers, which fvcore does not count")
    params: int = Field(examples=[269722])
    latency_ms: float | None = Field(None, description="where latency is a budget")
    normalized: str | None = Field(
        None, description="how the normalisation of its images was found out, where it was"
    )
    validation_seen: bool = Field(
        False,
        description="whether validation images were taken from those for training, which weights "
        "that came trained may know: its accuracy on validation flatters it, that on test does not",
    )

    @classmethod
    def from_profile(cls, profile: dict[str, Any] | None) -> Self | None:
        if profile is None:
            return None
        beside = {"normalized", "validation_seen"} & profile.keys()  # older ones do not tell
        return cls.model_validate(profile["teacher"] | {name: profile[name] for name in beside})

    def flops_ratio(self, flops: int) -> float | None:
        """The share of the teacher's FLOPs and additions."""
        return _ratio(flops, self.flops + self.adds)

    def params_ratio(self, params: int) -> float | None:
        return _ratio(params, self.params)

    def latency_ratio(self, ms: float | None) -> float | None:
        """The share of the teacher's latency."""
        return None if ms is None or self.latency_ms is None else _ratio(ms, self.latency_ms)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
