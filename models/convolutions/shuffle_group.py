"""Group convolution and channel shuffle: the next layer's groups see all of this one's."""

import torch
from torch import Tensor, nn

from pareconv.models.convolutions.group import Group


class ShuffleGroup(Group):
    """x -> k x k group convolution Ci -> Co (stride, dilation, padding, bias here) -> shuffle.

    The shuffle writes the outputs of the groups by turns (Zhang et al. 2018, arXiv 1707.01083), so
    that output channel c sees the inputs of group c % g. Start: the kernel's part that connects
    those, then least squares within each group where inputs are given.
    """

    name = "shuffle_group"
    summary = "group convolution whose outputs are dealt out to all groups of the next layer"
    formula = "k x k in g groups, Ci -> Co, outputs dealt out by turns"
    cost = "params Ci*Co*k^2/g; multiply-adds the same times Ho*Wo; the shuffle is a copy"
    source = "Zhang et al. 2018, arXiv 1707.01083"
    when = "1x1 convolutions of wide networks, and several in a row."

    def _imitate(self, conv: nn.Conv2d, inputs: Tensor | None) -> None:
        channels = torch.arange(conv.out_channels)
        self._start(conv, inputs, channels.view(-1, self.spatial.groups).T.flatten())

    def forward(self, x: Tensor) -> Tensor:
        grouped: Tensor = self.spatial(x)
        n, channels, height, width = grouped.shape
        dealt = grouped.view(n, self.spatial.groups, -1, height, width).transpose(1, 2)
        return dealt.reshape(n, channels, height, width)
