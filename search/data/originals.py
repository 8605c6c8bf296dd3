"""Originals: the images of a data set as they lie on disk, their labels known, decoded when asked
for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from PIL import Image
from torch import Tensor

from pareconv.search.data.splits import VALIDATION_SHARE, hold_out_test
from pareconv.search.errors import InvalidSpec

MIN_SIZE, MAX_SIZE = 8, 1024  # pixels, as in search/spec.py


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """The N images of a split, with their labels, int64 [N].

    The functions take an image's number, in any thread: what to call it in a message, its (width,
    height) in pixels, and the image in RGB. InvalidSpec where it cannot be read.
    """

    labels: Tensor
    name: Callable[[int], str]
    size: Callable[[int], tuple[int, int]]
    rgb: Callable[[int], Image.Image]

    def __len__(self) -> int:
        return len(self.labels)

    def some(self, chosen: Tensor) -> "Pictures":
        """Those of these numbers (int64 [M]), in this order."""
        numbers = chosen.tolist()
        return Pictures(
            self.labels[chosen],
            lambda place: self.name(numbers[place]),
            lambda place: self.size(numbers[place]),
            lambda place: self.rgb(numbers[place]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Originals:
    """A data set before it is decoded. Without `validation`, each job holds its own out of train.

    No split is empty.
    """

    classes: tuple[str, ...]
    train: Pictures
    test: Pictures
    validation: Pictures | None = None

    @classmethod
    def arranged(
        cls,
        classes: tuple[str, ...],
        train: Pictures,
        *,
        validation: Pictures | None,
        test: Pictures | None,
    ) -> Self:
        """With a test split of ours where the data bring none: half of their validation split,
        which no teacher of theirs was trained on, or else a fifth of train; always the same.
        """
        if test is None and validation is None:
            kept, held_out = hold_out_test(train.labels)
            train, test = train.some(kept), train.some(held_out)
        elif test is None:
            assert validation is not None
            kept, held_out = hold_out_test(validation.labels, VALIDATION_SHARE)
            validation, test = validation.some(kept), validation.some(held_out)
        return cls(classes, train, test, validation)

    @property
    def common_size(self) -> int:
        """Side of the first image in pixels, which `auto` holds all others to; InvalidSpec where it
        is no good.
        """
        width, height = self.train.size(0)
        if width != height or not MIN_SIZE <= width <= MAX_SIZE:
            raise InvalidSpec(
                "dataset.image_size",
                f"'auto' keeps the images' own size, but {self.train.name(0)} is {width} x "
                f"{height} pixels and must be square, of {MIN_SIZE} to {MAX_SIZE}; give image_size "
                "in pixels",
            )
        return width
