"""Batches: a split on its device, given out normalised, and in which order. Knows no network.

Shapes: N images of a split, B of a batch, S side in pixels; images are [N, 3, S, S].
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from pareconv.search.data.rows import Pixels, chunks, moved
from pareconv.search.spec import Triple

Batch = tuple[Tensor, Tensor]  # float32 [B, 3, S, S] normalised, int64 [B]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Images uint8 [N, 3, S, S] with labels int64 [N], and how the network wants them normalised.

    `mean` and `std` are per channel, for images scaled to [0, 1]. Images that are larger than
    memory, or than that of their device, are fetched as they are asked for.
    """

    images: Pixels
    labels: Tensor
    mean: Triple
    std: Triple

    def __post_init__(self) -> None:
        if len(self.images) == 0 or len(self.images) != len(self.labels):
            raise ValueError(
                f"{len(self.images)} images with {len(self.labels)} labels; "
                "a split needs at least one image, and one label for each"
            )

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> Self:
        return replace(self, images=moved(self.images, device), labels=self.labels.to(device))


def normalize(images: Tensor, mean: Triple, std: Triple) -> Tensor:
    """float32 (images / 255 - mean) / std of uint8 [B, 3, S, S]."""
    scale = 255 * images.new_tensor([mean, std], dtype=torch.float32).view(2, 3, 1, 1)
    return images.float().sub_(scale[0]).div_(scale[1])


def statistics(images: Pixels) -> tuple[Triple, Triple]:
    """Exact (mean, std) per channel of uint8 [N, 3, S, S] scaled to [0, 1]; std at least 1/255."""
    counts = torch.zeros(3, 256, dtype=torch.int64)
    for part in chunks(images):
        chunk = images[part]
        for channel in range(3):
            values = chunk[:, channel].reshape(-1)
            counts[channel] += torch.bincount(values, minlength=256).cpu()
    share = counts.double() / counts.sum(1, keepdim=True)
    level = torch.arange(256, dtype=torch.float64) / 255
    mean = share @ level
    std = ((level - mean[:, None]).square() * share).sum(1).sqrt().clamp(min=1 / 255)
    return _triple(mean), _triple(std)


def batch_sizes(images_total: int, batch_size: int) -> list[int]:
    """The sizes of the batches that give `images_total` images; none is 1, as batch norm needs 2.

    A last batch of 1 is merged into the one before it, which then has batch_size + 1.
    """
    if images_total < 2 or batch_size < 2:
        raise ValueError(
            f"{images_total} images in batches of {batch_size}: both must be at least 2, "
            "as batch norm cannot train on a single image"
        )
    num_full, rest = divmod(images_total, batch_size)
    if rest == 1:
        return [batch_size] * (num_full - 1) + [batch_size + 1]
    return [batch_size] * num_full + [rest] * (rest > 0)


def shuffled(images_total: int, pool: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Numbers (int64 [B], on the CPU) of the views of each batch, `images_total` of them in all.

    They come from the first `pool` views, epoch after epoch in an order of its own; batches run on
    over the end of an epoch. Their sizes are those of `batch_sizes`.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.int64)
    for size in batch_sizes(images_total, batch_size):
        while len(order) < size:
            order = torch.cat([order, torch.randperm(pool, generator=generator)])
        yield order[:size]
        order = order[size:]


def eval_batches(split: Split, batch_size: int) -> Iterator[Batch]:
    """The whole split once, in order, unaugmented; the last batch may be smaller."""
    for start in range(0, len(split), batch_size):
        images = split.images[start : start + batch_size]
        yield normalize(images, split.mean, split.std), split.labels[start : start + batch_size]


def _triple(values: Tensor) -> Triple:
    red, green, blue = values.tolist()
    return red, green, blue
