"""Images: a data set in memory, as uint8 tensors. Knows nothing of where they come from.

Shapes: N images, S side in pixels; images are [N, 3, S, S], red, green, blue.
"""

from dataclasses import dataclass

import psutil
import torch
from torch import Tensor
from torch.nn import functional

from pareconv.search.errors import InvalidSpec

MIN_SIZE, MAX_SIZE = 8, 1024  # pixels, as in search/spec.py

_CHUNK = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """A data set: class names, and for train and test uint8 [N, 3, S, S] with int64 labels [N]."""

    name: str
    classes: tuple[str, ...]
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    @property
    def image_size(self) -> int:
        """Side in pixels."""
        return int(self.train_images.shape[-1])


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
    """Raises InvalidSpec when so many decoded images do not fit the memory that is free now."""
    needed_bytes = num_images * 3 * size * size
    free_bytes = psutil.virtual_memory().available
    if needed_bytes > free_bytes:
        raise InvalidSpec(
            "dataset.image_size",
            f"{num_images:,} images of {size} x {size} pixels take {needed_bytes / 1e9:,.1f} GB "
            f"of memory, {free_bytes / 1e9:,.1f} GB are free; "
            "use a smaller image_size or fewer images",
        )
