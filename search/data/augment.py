"""Augmentation: random views of a batch, on its device, with no loop over images.

Shapes: B images of side S, [B, 3, S, S].
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from pareconv.search.spec import Augment


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """How each of B images is moved: `shifts` [B, 2] (down, right) in pixels, from 0 to twice the
    padding, and `flips` [B]; None where the augmentation does not move so.
    """

    shifts: Tensor | None
    flips: Tensor | None

    @classmethod
    def draw(cls, kind: Augment, count: int, side: int, generator: torch.Generator) -> Self:
        """Random moves for `count` images.

        `crop` shifts by up to side / 8 pixels each way (4 at 32, as the CIFAR recipe of He et al.
        2016 has it); `crop-flip` also mirrors with probability 1/2.
        """
        if kind == "none":
            return cls(None, None)
        shifts = torch.randint(0, 2 * _padding(side) + 1, (count, 2), generator=generator)
        flips = torch.rand(count, generator=generator) < 0.5 if kind == "crop-flip" else None
        return cls(shifts, flips)

    def __getitem__(self, chosen: Tensor) -> "Moves":
        return Moves(
            None if self.shifts is None else self.shifts[chosen],
            None if self.flips is None else self.flips[chosen],
        )


def move(images: Tensor, moves: Moves) -> Tensor:
    """[B, 3, S, S] moved, filled with zeros, the mean once images are normalised."""
    if moves.shifts is not None:
        images = _crop(images, moves.shifts.to(images.device))
    if moves.flips is not None:
        is_flipped = moves.flips.to(images.device).view(-1, 1, 1, 1)
        images = torch.where(is_flipped, images.flip(-1), images)
    return images


def _crop(images: Tensor, shifts: Tensor) -> Tensor:
    num_images, _, height, width = images.shape
    padded = functional.pad(images, (_padding(width),) * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: [B, 3, shift, shift, S, S]
    everyone = torch.arange(num_images, device=images.device)
    return windows[everyone, :, shifts[:, 0], shifts[:, 1]]


def _padding(side: int) -> int:
    return max(1, side // 8)
