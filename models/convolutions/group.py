"""Group convolution: every group of outputs sees one group of inputs."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from pareconv.models.convolutions.base import CheapConv
from pareconv.models.convolutions.fitting import fit_conv
from pareconv.models.convolutions.geometry import spatial_like
from pareconv.models.convolutions.operator import Hyper
from pareconv.models.plan import HyperValue


class Group(CheapConv):
    """x -> k x k group convolution Ci -> Co (stride, dilation, padding, bias here).

    Nothing mixes the groups. Start: the kernel's diagonal blocks, then least squares within each
    group where inputs are given.
    """

    name = "group"
    summary = "group convolution: 1/g of the cost, but the groups never meet in it"
    formula = "k x k in g groups, Ci -> Co"
    cost = "params Ci*Co*k^2/g; multiply-adds the same times Ho*Wo"
    source = "Krizhevsky et al. 2012; Xie et al. 2017, arXiv 1611.05431"
    when = (
        "Before or after a layer that mixes the channels; two of them in a row keep the "
        "groups apart."
    )
    hyper: ClassVar[tuple[Hyper, ...]] = (
        Hyper("groups", 2, 4096, (2, 4, 8), "groups of channels; divides Ci and Co"),
    )

    def __init__(self, conv: nn.Conv2d, *, groups: int) -> None:
        super().__init__(conv)
        self.spatial = spatial_like(
            conv, conv.in_channels, conv.out_channels, groups=groups, bias=conv.bias is not None
        )

    @classmethod
    def _refusal(cls, conv: nn.Conv2d, **hyper: HyperValue) -> str | None:
        for what, channels in (("input", conv.in_channels), ("output", conv.out_channels)):
            if channels % int(hyper["groups"]):
                return f"groups={hyper['groups']} does not divide the {channels} {what} channels"
        return None

    def _imitate(self, conv: nn.Conv2d, inputs: Tensor | None) -> None:
        self._start(conv, inputs, torch.arange(conv.out_channels))

    def _start(self, conv: nn.Conv2d, inputs: Tensor | None, order: Tensor) -> None:
        """Output place p of the group convolution is to give channel `order[p]` of `conv`."""
        groups = self.spatial.groups
        rows, columns = conv.out_channels // groups, conv.in_channels // groups
        for group in range(groups):
            places = slice(group * rows, (group + 1) * rows)
            seen = slice(group * columns, (group + 1) * columns)
            self.spatial.weight[places] = conv.weight[order[places], seen]
        if conv.bias is not None and self.spatial.bias is not None:
            self.spatial.bias.copy_(conv.bias[order])
        if inputs is not None:
            fit_conv(self.spatial, inputs, conv(inputs)[:, order])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.spatial(x)
        return out
