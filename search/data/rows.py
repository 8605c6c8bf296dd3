"""Rows: some images of a tensor that may be larger than memory, copied only when asked for."""

from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

_CHUNK_BYTES = 2**23
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The rows (int64 [M]) of `source` [N, 3, S, S], both on the CPU, in this order.

    It is indexed as a tensor [M, 3, S, S] on `device` would be, along the first dimension alone.
    """

    source: Tensor
    rows: Tensor
    device: torch.device = _CPU

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.rows), *self.source.shape[1:]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: Tensor | slice) -> Tensor:
        rows = self.rows[chosen if isinstance(chosen, slice) else chosen.to(_CPU)]
        return self.source.index_select(0, rows).to(self.device)


Pixels: TypeAlias = Tensor | Rows


def some(images: Pixels, chosen: Tensor) -> Rows:
    """The images of these numbers (int64 [M]); those of a tensor must be on the CPU."""
    if isinstance(images, Rows):
        return replace(images, rows=images.rows[chosen])
    return Rows(images, chosen)


def moved(images: Pixels, device: torch.device | str) -> Pixels:
    """The images on a device: all of them if they fill less than half of its free memory, and else
    each when it is asked for.
    """
    device = torch.device(device)
    if device.type != "cuda" or images.device.type == "cuda":
        return images.to(device) if isinstance(images, Tensor) else replace(images, device=device)
    if len(images) * images[:1].nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        rows = images if isinstance(images, Rows) else some(images, torch.arange(len(images)))
        return replace(rows, device=device)
    copy = torch.empty(images.shape, dtype=torch.uint8, device=device)
    for part in chunks(images):
        copy[part] = images[part]
    return copy


def chunks(images: Pixels) -> list[slice]:
    """Parts of at most 8 MiB, or of one image, that make up all of them in order."""
    step = max(1, _CHUNK_BYTES // max(1, images[:1].nbytes))
    return [slice(start, start + step) for start in range(0, len(images), step)]
