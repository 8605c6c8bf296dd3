"""Assumptions: what only the user knows and the spec leaves open, and what is taken instead."""

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pareconv.search.spec import JobSpec


class Assumption(BaseModel):
    """What the spec leaves open that only its user knows."""

    model_config = ConfigDict(frozen=True)

    field: str = Field(description="of the spec", examples=["teacher.normalize"])
    message: str = Field(description="what is taken, and what to say where that is wrong")
    level: Literal["info", "warning"] = Field(
        description="warning: a job is spoilt where it does not hold"
    )

    def __str__(self) -> str:
        mark = "Warning" if self.level == "warning" else "Assumed"
        return f"{mark}: {self.field}: {self.message}."


def assumptions(spec: JobSpec) -> list[Assumption]:
    """Of a spec as it came, before any `auto` is resolved."""
    return list(_assumed(spec))


def _assumed(spec: JobSpec) -> Iterator[Assumption]:
    teacher, dataset = spec.teacher, spec.dataset
    has_unknown_weights = teacher.is_file or teacher.weights not in (None, "default")
    if teacher.normalize == "auto" and has_unknown_weights:
        yield Assumption(
            field="teacher.normalize",
            level="warning",
            message="the weights do not say how their images were normalised; mean and deviation "
            "of the training images are taken. If they were trained with others (imagenet, "
            "cifar10, or mean 0 and std 1 for images from 0 to 1 as they are), give those: with "
            "the wrong ones the teacher is less accurate, and so are its students",
        )
    if dataset.augment == "auto" and dataset.source != "digits":
        yield Assumption(
            field="dataset.augment",
            level="info",
            message="training images are also shown mirrored and shifted (crop-flip); say crop "
            "where left and right mean something, as in text, or none",
        )
