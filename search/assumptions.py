"""Assumptions: what only the user knows and the spec leaves open, and what is taken instead."""

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field

from pareconv.search.spec import JobSpec


class Assumption(BaseModel):
    """What the spec leaves open that only its user knows."""

    model_config = ConfigDict(frozen=True)

    field: str = Field(description="of the spec", examples=["teacher.normalize"])
    message: str = Field(description="what is taken, and what to say where that is wrong")


def assumptions(spec: JobSpec) -> list[Assumption]:
    """Of a spec as it came, before any `auto` is resolved."""
    return list(_assumed(spec))


def _assumed(spec: JobSpec) -> Iterator[Assumption]:
    teacher, dataset = spec.teacher, spec.dataset
    has_unknown_weights = teacher.is_file or teacher.weights not in (None, "default")
    if teacher.normalize == "auto" and has_unknown_weights:
        yield Assumption(
            field="teacher.normalize",
            message="the weights do not say how their images were normalised; the job tries the "
            "customary ways (imagenet, cifar10, pixels from 0 to 1, -1 to 1 or 0 to 255, the "
            "training images' own) and takes that with which the teacher is right most often on "
            "validation images; a teacher that gets a new head takes the images' own. If it was "
            "another way, say so, as an accuracy at a guess can be a little lower",
        )
    if dataset.augment == "auto" and dataset.source != "digits":
        yield Assumption(
            field="dataset.augment",
            message="training images are also shown mirrored and shifted (crop-flip); say crop "
            "where left and right mean something, as in text, or none",
        )
