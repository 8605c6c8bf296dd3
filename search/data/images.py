"""Images: a decoded data set, as uint8 tensors, mapped from a file where they are kept in one.

Knows nothing of where they come from.

Shapes: N images, S side in pixels; images are [N, 3, S, S], red, green, blue.
"""

from dataclasses import dataclass, replace

import psutil
import torch
from torch import Tensor
from torch.nn import functional

from pareconv.search.data.rows import Pixels, some
from pareconv.search.data.splits import split
from pareconv.search.errors import InvalidSpec

_CHUNK = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """A data set: class names, and for each split uint8 [N, 3, S, S] with int64 labels [N].

    Few data sets bring a validation split; of the others each job holds its own out of train.
    """

    name: str
    classes: tuple[str, ...]
    train_images: Pixels
    train_labels: Tensor
    test_images: Pixels
    test_labels: Tensor
    validation_images: Pixels | None = None
    validation_labels: Tensor | None = None

    @property
    def image_size(self) -> int:
        """Side in pixels."""
        return int(self.train_images.shape[-1])

    def held_out(self, fraction: float, seed: int) -> "Images":
        """With this share of train as the validation split, seeded and stratified."""
        train, validation = split(self.train_labels, fraction, seed)
        return replace(
            self,
            train_images=some(self.train_images, train),
            train_labels=self.train_labels[train],
            validation_images=some(self.train_images, validation),
            validation_labels=self.train_labels[validation],
        )


def resize(images: Tensor, size: int) -> Tensor:
    """uint8 [N, 3, H, W] scaled to [N, 3, size, size], bilinear with antialiasing."""
    if tuple(images.shape[-2:]) == (size, size):
        return images
    resized = torch.empty(*images.shape[:2], size, size, dtype=torch.uint8)
    for start in range(0, len(images), _CHUNK):
        scaled = functional.interpolate(
            images[start : start + _CHUNK].float(),
            size=(size, size),
            mode="bilinear",
            antialias=True,
        )
        resized[start : start + _CHUNK] = scaled.round().clamp(0, 255)
    return resized


def require_memory(num_images: int, size: int) -> None:
    """Raises InvalidSpec when so many decoded images do not fit the memory that is free now: they
    must where the cache has no room for them.
    """
    needed_bytes = num_images * 3 * size * size
    free_bytes = psutil.virtual_memory().available
    if needed_bytes > free_bytes:
        raise InvalidSpec(
            "dataset.image_size",
            f"{num_images:,} images of {size} x {size} pixels take {needed_bytes / 1e9:,.1f} GB "
            f"of memory, {free_bytes / 1e9:,.1f} GB are free, and the cache has no room for "
            "them either; free some of its disk, or use a smaller image_size or fewer images",
        )
