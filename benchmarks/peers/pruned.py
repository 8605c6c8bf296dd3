"""What a peer gives back: the network it chose and what choosing cost."""

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, eq=False)
class Pruned:
    """A network within the limit, not trained further, its batch norm statistics not renewed.

    `forward_images` is what the tool spent in teacher-forward equivalents: one image forward
    through a network counts that network's FLOPs over the teacher's, forward and backward three
    times that.
    """

    network: nn.Module
    forward_images: float
