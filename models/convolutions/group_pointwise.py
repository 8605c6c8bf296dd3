"""Group convolution and a 1x1: the spatial part within groups of channels, the mixing after it."""

from typing import ClassVar

from torch import Tensor, nn

from pareconv.models.convolutions.base import CheapConv
from pareconv.models.convolutions.fitting import fit_conv, patches, truncated
from pareconv.models.convolutions.geometry import spatial_like
from pareconv.models.convolutions.operator import Hyper
from pareconv.models.plan import HyperValue


class GroupPointwise(CheapConv):
    """x -> k x k group convolution Ci -> Ci (stride, dilation, padding here) -> 1x1 Ci -> Co
    (bias).

    Nothing between the two, as in OD-cheap-convolution (Xie et al. 2019, arXiv 1909.13063).
    Start: each group's slice of the kernel, a Co x (Ci/g * k * k) matrix, is replaced by its best
    approximation of rank Ci/g, which is what the two layers can express (truncated SVD, weighted by
    the covariance of what the group sees where inputs are given).
    """

    name = "group_pointwise"
    summary = (
        "group convolution, then 1x1: keeps the receptive field at about 1/g + 1/k^2 of the cost"
    )
    formula = "k x k in g groups, Ci -> Ci, then 1x1 Ci -> Co"
    cost = "params Ci^2*k^2/g + Ci*Co; multiply-adds the same times Ho*Wo"
    source = "Xie et al. 2019, arXiv 1909.13063; Crowley et al. 2018 (Moonshine)"
    when = (
        "A third to an eighth of the cost with a close start; with large g it turns into depthwise."
    )
    hyper: ClassVar[tuple[Hyper, ...]] = (
        Hyper("groups", 2, 4096, (2, 4, 8), "groups of the k x k convolution; divides Ci"),
    )

    def __init__(self, conv: nn.Conv2d, *, groups: int) -> None:
        super().__init__(conv)
        self.spatial = spatial_like(conv, conv.in_channels, conv.in_channels, groups=groups)
        self.pointwise = nn.Conv2d(
            conv.in_channels, conv.out_channels, 1, bias=conv.bias is not None
        )

    @classmethod
    def _refusal(cls, conv: nn.Conv2d, **hyper: HyperValue) -> str | None:
        if conv.kernel_size == (1, 1):
            return "1x1: has no spatial part to group"
        groups = int(hyper.get("groups", conv.in_channels))
        if conv.in_channels % groups:
            return f"groups={groups} does not divide the {conv.in_channels} input channels"
        return None

    def _imitate(self, conv: nn.Conv2d, inputs: Tensor | None) -> None:
        groups = self.spatial.groups
        kernels = conv.weight.reshape(conv.out_channels, groups, -1).transpose(
            0, 1
        )  # [g, Co, Ci/g*k*k]
        width = conv.in_channels // groups
        rank = min(width, *kernels.shape[1:])
        seen = None
        if inputs is not None and width > 1:  # single channels: measured worse than unweighted
            columns = patches(self.spatial, inputs)  # [Q, Ci*k*k]
            seen = (columns - columns.mean(0)).view(len(columns), groups, -1).transpose(0, 1)
        left, right = truncated(kernels, rank, seen)
        # A group wider than the outputs has spare filters: they keep their random start, unused.
        self.pointwise.weight.zero_()
        mixing = self.pointwise.weight.view(-1, groups, width)
        mixing[:, :, :rank] = left.transpose(0, 1)
        self.spatial.weight.view(groups, width, -1)[:, :rank] = right
        if conv.bias is not None and self.pointwise.bias is not None:
            self.pointwise.bias.copy_(conv.bias)
        if inputs is not None:
            fit_conv(self.pointwise, self.spatial(inputs), conv(inputs))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pointwise(self.spatial(x))
        return out
