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
    """How each of B images is moved: `shifts` [B, 2] (down, right) in pixels and `flips` [B]."""

    shifts: Tensor
    flips: Tensor

    @classmethod
    def none(cls, count: int) -> Self:
        return cls(torch.zeros(count, 2, dtype=torch.int64), torch.zeros(count, dtype=torch.bool))

    @classmethod
    def draw(cls, kind: Augment, count: int, side: int, generator: torch.Generator) -> Self:
        """Random moves for `count` images.

        `crop` shifts by up to side / 8 pixels each way (4 at 32, as the CIFAR recipe of He et al.
        2016 has it); `crop-flip` also mirrors with probability 1/2.
        """
        moves = cls.none(count)
        if kind != "none":
            most = _padding(side)
            moves.shifts.random_(-most, most + 1, generator=generator)
        if kind == "crop-flip":
            moves.flips.copy_(torch.rand(count, generator=generator) < 0.5)
        return moves

    def __len__(self) -> int:
        return len(self.flips)

    def __getitem__(self, chosen: Tensor) -> "Moves":
        return Moves(self.shifts[chosen], self.flips[chosen])

    def followed_by(self, others: "Moves") -> "Moves":
        shifts = torch.cat([self.shifts, others.shifts])
        return Moves(shifts, torch.cat([self.flips, others.flips]))


def move(images: Tensor, moves: Moves) -> Tensor:
    """[B, 3, S, S] moved, filled with zeros, the mean once images are normalised."""
    if moves.shifts.any():
        images = _crop(images, moves.shifts.to(images.device))
    if moves.flips.any():
        is_flipped = moves.flips.to(images.device).view(-1, 1, 1, 1)
        images = torch.where(is_flipped, images.flip(-1), images)
    return images


def _crop(images: Tensor, shifts: Tensor) -> Tensor:
    num_images, _, height, width = images.shape
    most = _padding(width)
    padded = functional.pad(images, (most,) * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: [B, 3, shift, shift, S, S]
    everyone = torch.arange(num_images, device=images.device)
    down, right = (most + shifts).unbind(1)
    return windows[everyone, :, down, right]


def _padding(side: int) -> int:
    return max(1, side // 8)
