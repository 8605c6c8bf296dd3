"""Contents: what a data set holds, told without decoding its images: classes, counts and their
size.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from pareconv.search.data.folders import ImageFolder
from pareconv.search.data.sources import Source, existing, load
from pareconv.search.data.splits import hold_out_test
from pareconv.search.spec import Auto


@dataclass(frozen=True, slots=True)
class Contents:
    """`train` (validation included) and `test` count images; `image_size` is a side in pixels."""

    classes: tuple[str, ...]
    train: int
    test: int
    image_size: int


def contents(source: Source, image_size: int | Auto, *, cache: Path) -> Contents:
    """Raises InvalidSpec on `dataset.source` or `dataset.image_size`."""
    match source.kind:
        case "folder" | "zip" as kind:
            folder = ImageFolder(kind, existing(source), source.fingerprint)
            return _of_folder(folder, image_size)
    images = load(source, image_size=image_size, cache=cache)
    return Contents(
        images.classes, len(images.train_labels), len(images.test_labels), images.image_size
    )


def _of_folder(folder: ImageFolder, image_size: int | Auto) -> Contents:
    listing = folder.listing()
    train, test = len(listing.train), len(listing.test)
    if not test:
        kept, held_out = hold_out_test(torch.tensor([label for _, label in listing.train]))
        train, test = len(kept), len(held_out)
    size = folder.common_size(listing) if image_size == "auto" else image_size
    return Contents(listing.classes, train, test, size)
