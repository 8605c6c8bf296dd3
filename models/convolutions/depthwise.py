"""Depthwise separable convolution: one spatial filter per channel, then a 1x1."""

from typing import ClassVar

from torch import nn

from pareconv.models.convolutions.group_pointwise import GroupPointwise
from pareconv.models.convolutions.operator import Hyper


class Depthwise(GroupPointwise):
    """x -> k x k depthwise (stride, dilation, padding here) -> 1x1 Ci -> Co (bias as in the
    source).

    The group convolution of GroupPointwise with one channel per group; its start is the best
    rank-1 approximation per input channel.
    """

    name = "depthwise"
    summary = "one spatial filter per channel, then 1x1: about 1/Co + 1/k^2 of the cost"
    formula = "k x k depthwise on Ci, then 1x1 Ci -> Co"
    cost = "params Ci*k^2 + Ci*Co; multiply-adds the same times Ho*Wo"
    source = "Howard et al. 2017, arXiv 1704.04861; Xie et al. 2019, arXiv 1909.13063"
    when = "About an eighth of the cost at 3x3, with some training to recover."
    hyper: ClassVar[tuple[Hyper, ...]] = ()

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv, groups=conv.in_channels)
