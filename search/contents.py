"""Contents: what a data set holds, told without decoding its images: classes, counts and their
size.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from torch import Tensor

from pareconv.search.data.images import Images
from pareconv.search.data.originals import Originals
from pareconv.search.data.sources import Source, load, opened
from pareconv.search.data.splits import held_out_of, resolve_fraction
from pareconv.search.spec import Auto


@dataclass(frozen=True, slots=True)
class Contents:
    """Training and test images of each class; how many there are to validate on where the data set
    brings them (None where a job holds them out of train); their side in pixels.
    """

    classes: tuple[str, ...]
    train_counts: tuple[int, ...]
    validation: int | None
    test_counts: tuple[int, ...]
    image_size: int

    @classmethod
    def of(cls, originals: Originals, size: int) -> Self:
        validation = originals.validation
        return cls(
            originals.classes,
            _counts(originals.train.labels, len(originals.classes)),
            None if validation is None else len(validation),
            _counts(originals.test.labels, len(originals.classes)),
            size,
        )

    @classmethod
    def of_images(cls, images: Images) -> Self:
        validation = images.validation_labels
        return cls(
            images.classes,
            _counts(images.train_labels, len(images.classes)),
            None if validation is None else len(validation),
            _counts(images.test_labels, len(images.classes)),
            images.image_size,
        )

    @property
    def train(self) -> int:
        return sum(self.train_counts)

    @property
    def test(self) -> int:
        return sum(self.test_counts)

    @property
    def untested(self) -> list[str]:
        """The classes of which no image tests."""
        counted = zip(self.classes, self.test_counts, strict=True)
        return [name for name, count in counted if count == 0]

    def held_out(self, fraction: float | Auto) -> int | None:
        """How many images a job takes out of train to validate on; None where it need not."""
        if self.validation is not None:
            return None
        share = resolve_fraction(self.train) if fraction == "auto" else fraction
        return sum(held_out_of(count, share) for count in self.train_counts)


def contents(source: Source, image_size: int | Auto, *, cache: Path) -> Contents:
    """Raises InvalidSpec on `dataset.source` or `dataset.image_size`."""
    if source.kind == "digits":
        return Contents.of_images(load(source, image_size=image_size, cache=cache))
    with opened(source, scratch=cache) as originals:
        size = originals.common_size if image_size == "auto" else image_size
        return Contents.of(originals, size)


def _counts(labels: Tensor, classes: int) -> tuple[int, ...]:
    return tuple(labels.bincount(minlength=classes).tolist())
