"""Partial convolution: some of the channels are convolved, then all of them mixed."""

import torch
from torch import Tensor, nn

from pareconv.models.convolutions.base import CheapConv
from pareconv.models.convolutions.centre import Centre
from pareconv.models.convolutions.fitting import fit_conv, patches, truncated
from pareconv.models.convolutions.geometry import spatial_like
from pareconv.models.convolutions.operator import Hyper
from pareconv.models.plan import HyperValue


class Partial(CheapConv):
    """x -> [first m channels: k x k convolution m -> m (stride, dilation, padding here)] beside
    [the others: their centre taps] -> 1x1 Ci -> Co (bias); m = round(ratio*Ci).

    FasterNet's partial convolution and the 1x1 after it (Chen et al. 2023, arXiv 2303.03667),
    there with batch norm and ReLU further on. Start: the kernel's slice on those m channels
    replaced by its best approximation of rank m (SVD, weighted by what they see where inputs are
    given), the summed taps of the others; the 1x1 by least squares.
    """

    name = "partial"
    summary = "k x k on a part of the channels, then a 1x1 over all"
    formula = "k x k on r*Ci channels, the others as they are, then 1x1 Ci -> Co"
    cost = "m = round(r*Ci); params m^2*k^2 + Ci*Co; multiply-adds the same times Ho*Wo"
    source = "Chen et al. 2023, arXiv 2303.03667"
    when = "Latency: few memory accesses; a sixth of the cost at r = 1/4."
    hyper = (Hyper("ratio", 0.01, 1.0, (0.25, 0.5), "r: share of the channels convolved"),)

    def __init__(self, conv: nn.Conv2d, *, ratio: float) -> None:
        super().__init__(conv)
        self.convolved = max(1, round(ratio * conv.in_channels))
        self.spatial = spatial_like(conv, self.convolved, self.convolved)
        self.pointwise = nn.Conv2d(
            conv.in_channels, conv.out_channels, 1, bias=conv.bias is not None
        )
        self._centre = Centre(conv)

    @classmethod
    def _refusal(cls, conv: nn.Conv2d, **hyper: HyperValue) -> str | None:
        return "1x1: has no spatial part to leave out" if conv.kernel_size == (1, 1) else None

    def _imitate(self, conv: nn.Conv2d, inputs: Tensor | None) -> None:
        count = self.convolved
        rank = min(count, conv.out_channels)
        seen = None if inputs is None else patches(self.spatial, inputs[:, :count])
        left, right = truncated(conv.weight[:, :count].flatten(1), rank, seen)
        self.pointwise.weight.copy_(conv.weight.sum((2, 3), keepdim=True))
        # Filters beyond the rank of the outputs keep their random start, unused.
        self.pointwise.weight[:, :count] = 0
        self.pointwise.weight[:, :rank] = left[:, :, None, None]
        self.spatial.weight[:rank] = right.view(rank, *self.spatial.weight.shape[1:])
        if conv.bias is not None and self.pointwise.bias is not None:
            self.pointwise.bias.copy_(conv.bias)
        if inputs is not None:
            fit_conv(self.pointwise, self._convolved(inputs), conv(inputs))

    def _convolved(self, x: Tensor) -> Tensor:
        head, rest = x[:, : self.convolved], x[:, self.convolved :]
        return torch.cat([self.spatial(head), self._centre.taps(rest)], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pointwise(self._convolved(x))
        return out
