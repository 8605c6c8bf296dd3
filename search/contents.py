"""Contents: what a data set holds, told without decoding its images: classes, counts and their
size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pareconv.search.data.folders import ImageFolder
from pareconv.search.data.sources import Source, existing, load
from pareconv.search.data.splits import hold_out_test
from pareconv.search.spec import Auto


@dataclass(frozen=True, slots=True)
class Contents:
    """Training images of each class (validation included), how many there are to test, and their
    side in pixels.
    """

    classes: tuple[str, ...]
    train_counts: tuple[int, ...]
    test: int
    image_size: int

    @property
    def train(self) -> int:
        return sum(self.train_counts)


def contents(source: Source, image_size: int | Auto, *, cache: Path) -> Contents:
    """Raises InvalidSpec on `dataset.source` or `dataset.image_size`."""
    match source.kind:
        case "folder" | "zip" as kind:
            folder = ImageFolder(kind, existing(source), source.fingerprint)
            return _of_folder(folder, image_size)
    images = load(source, image_size=image_size, cache=cache)
    return Contents(
        images.classes,
        _counts(images.train_labels, images.classes),
        len(images.test_labels),
        images.image_size,
    )


def _of_folder(folder: ImageFolder, image_size: int | Auto) -> Contents:
    listing = folder.listing()
    labels, test = torch.tensor([label for _, label in listing.train]), len(listing.test)
    if not test:
        kept, held_out = hold_out_test(labels)
        labels, test = labels[kept], len(held_out)
    size = folder.common_size(listing) if image_size == "auto" else image_size
    return Contents(listing.classes, _counts(labels, listing.classes), test, size)


def _counts(labels: Tensor, classes: Sequence[str]) -> tuple[int, ...]:
    return tuple(labels.bincount(minlength=len(classes)).tolist())
