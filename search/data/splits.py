"""Splits: which images are held out. Seeded and stratified; knows labels alone, no images.

Drawn with numpy's RandomState, whose stream is frozen: the same seed gives the same split on every
platform and in every later version.
"""

import numpy as np
import torch
from torch import Tensor

from pareconv.search.errors import InvalidSpec

TEST_FRACTION = 0.2
VALIDATION_SHARE = 0.5  # of a validation split that comes without a test split: what tests
TEST_SEED = 0  # never the job's: every job on the same data must be tested on the same images

_AUTO_IMAGES = 2000
_AUTO_MOST, _LEAST = 0.2, 0.001


def resolve_fraction(num_images: int) -> float:
    """What `auto` means for a training split of so many images: 2,000 images, at most a fifth."""
    return max(min(_AUTO_IMAGES / num_images, _AUTO_MOST), _LEAST)


def held_out_of(count: int, fraction: float) -> int:
    """How many of a class of so many images are held out: at least one stays on each side."""
    return min(max(round(count * fraction), 1), count - 1)


def split(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """(train, validation) indices, int64 and ascending, `fraction` of each class in the second.

    Each class has at least one image on each side; InvalidSpec where it has not two to give.
    """
    return _stratified(labels, fraction, seed, field="dataset.validation_fraction")


def hold_out_test(labels: Tensor, fraction: float = TEST_FRACTION) -> tuple[Tensor, Tensor]:
    """(other, test) indices of images that come without a test split: always the same."""
    return _stratified(labels, fraction, TEST_SEED, field="dataset.source")


def _stratified(labels: Tensor, fraction: float, seed: int, *, field: str) -> tuple[Tensor, Tensor]:
    classes, counts = np.unique(labels.numpy(), return_counts=True)
    if counts.min() < 2:
        raise InvalidSpec(
            field,
            f"the smallest class, number {classes[counts.argmin()]} in the order of their names, "
            "has 1 image and at least 2 are needed, one for each side of the split; "
            "add images to it or leave the class out",
        )
    random = np.random.RandomState(seed)
    held_out = np.zeros(len(labels), dtype=bool)
    for label, count in zip(classes, counts, strict=True):
        members = np.flatnonzero(labels.numpy() == label)
        held_out[random.permutation(members)[: held_out_of(count, fraction)]] = True
    return torch.from_numpy(np.flatnonzero(~held_out)), torch.from_numpy(np.flatnonzero(held_out))
