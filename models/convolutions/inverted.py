"""Inverted residual: expand the channels, one spatial filter for each, project back."""

import torch.nn.functional as F
from torch import Tensor, nn

from pareconv.models.convolutions.base import CheapConv
from pareconv.models.convolutions.fitting import fit_conv, settled, truncated
from pareconv.models.convolutions.geometry import spatial_like
from pareconv.models.convolutions.operator import Hyper
from pareconv.models.plan import HyperValue


class Inverted(CheapConv):
    """x -> 1x1 Ci -> M -> BN, ReLU6 -> k x k depthwise (stride, ...) -> BN, ReLU6 -> 1x1 M -> Co
    (bias); M = expansion*Ci.

    The layers of MobileNetV2's block (Sandler et al. 2018, arXiv 1801.04381) without its last batch
    norm and shortcut, which are the network's. Start: every input channel is passed on `expansion`
    times, each time with one of the leading filters of its slice of the kernel (SVD); where inputs
    are given, the batch norms take their statistics and are shifted to the middle of ReLU6, and the
    last 1x1 is fitted by least squares.
    """

    name = "inverted"
    summary = "1x1 up, depthwise, 1x1 down, with batch norms and ReLU6 between"
    formula = "1x1 Ci -> t*Ci, BN, ReLU6, k x k depthwise, BN, ReLU6, 1x1 -> Co"
    cost = (
        "M = t*Ci; params Ci*M + M*k^2 + M*Co + 4*M; "
        "multiply-adds Ci*M*H*W + (M*k^2 + M*Co)*Ho*Wo, and 2*M*(H*W + Ho*Wo) of batch norm"
    )
    source = "Sandler et al. 2018, arXiv 1801.04381"
    when = "Where a nonlinear layer in place of a linear one may gain from longer training."
    hyper = (Hyper("expansion", 1, 64, (1, 2), "t: how many times wider than Ci the middle is"),)

    def __init__(self, conv: nn.Conv2d, *, expansion: int) -> None:
        super().__init__(conv)
        width = expansion * conv.in_channels
        self.up = nn.Conv2d(conv.in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.spatial = spatial_like(conv, width, width, groups=width)
        self.bn2 = nn.BatchNorm2d(width)
        self.down = nn.Conv2d(width, conv.out_channels, 1, bias=conv.bias is not None)

    @classmethod
    def _refusal(cls, conv: nn.Conv2d, **hyper: HyperValue) -> str | None:
        return "1x1: has no spatial part to filter" if conv.kernel_size == (1, 1) else None

    def _imitate(self, conv: nn.Conv2d, inputs: Tensor | None) -> None:
        copies = self.up.out_channels // conv.in_channels
        slices = conv.weight.transpose(0, 1).flatten(2)  # [Ci, Co, k*k]
        rank = min(copies, *slices.shape[1:])
        left, right = truncated(slices, rank)  # [Ci, Co, rank], [Ci, rank, k*k]
        # What is beyond the rank keeps its random start.
        taps = self.spatial.weight.view(conv.in_channels, copies, -1)
        taps[:, :rank] = right
        mixing = self.down.weight.view(conv.out_channels, conv.in_channels, copies)
        mixing.zero_()[:, :, :rank] = left.transpose(0, 1)
        self.up.weight.zero_()
        for channel in range(conv.in_channels):
            self.up.weight[channel * copies : (channel + 1) * copies, channel] = 1
        if conv.bias is not None and self.down.bias is not None:
            self.down.bias.copy_(conv.bias)
        if inputs is not None:
            fit_conv(self.down, self._measured(inputs), conv(inputs))

    def _measured(self, inputs: Tensor) -> Tensor:
        """Input of the last 1x1, the batch norms set so that nearly all of it passes."""
        for norm in (self.bn1, self.bn2):
            norm.bias.fill_(3)
        hidden = F.relu6(settled(self.bn1, self.up(inputs)))
        return F.relu6(settled(self.bn2, self.spatial(hidden)))

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu6(self.bn1(self.up(x)))
        hidden = F.relu6(self.bn2(self.spatial(hidden)))
        out: Tensor = self.down(hidden)
        return out
