"""Ghost: a few real output channels, the others by cheap depthwise operations on them."""

import torch
from torch import Tensor, nn

from pareconv.models.convolutions.base import CheapConv
from pareconv.models.convolutions.fitting import fit_conv
from pareconv.models.convolutions.geometry import spatial_like
from pareconv.models.convolutions.operator import Hyper
from pareconv.models.plan import HyperValue


class Ghost(CheapConv):
    """x -> k x k convolution Ci -> m = ceil(Co / ratio) -> [itself, 3 x 3 depthwise m ->
    (ratio-1)*m] -> first Co.

    GhostNet (Han et al. 2020, arXiv 1911.11907) has batch norm and ReLU after each half because it
    replaces a whole conv-bn-act unit; here those of the network follow. Start: the primary filters
    are the source's first m; each ghost is its own channel's projection on the primary one it is
    derived from, its 3 x 3 filter fitted by least squares where inputs are given.
    """

    name = "ghost"
    summary = "part of the outputs computed, the rest derived from them by depthwise filters"
    formula = "k x k Ci -> m, 3x3 depthwise m -> Co - m, side by side"
    cost = "params Ci*m*k^2 + (s-1)*m*9 with m = ceil(Co/s); multiply-adds the same times Ho*Wo"
    source = "Han et al. 2020, arXiv 1911.11907"
    when = "Half of the cost where outputs resemble each other; networks trained with it."
    hyper = (Hyper("ratio", 2, 64, (2, 4), "s: outputs per primary output"),)

    def __init__(self, conv: nn.Conv2d, *, ratio: int) -> None:
        super().__init__(conv)
        primary = -(-conv.out_channels // ratio)
        bias = conv.bias is not None
        self.out_channels = conv.out_channels
        self.primary = spatial_like(conv, conv.in_channels, primary, bias=bias)
        self.cheap = nn.Conv2d(
            primary, primary * (ratio - 1), 3, padding=1, groups=primary, bias=bias
        )

    @classmethod
    def _refusal(cls, conv: nn.Conv2d, **hyper: HyperValue) -> str | None:
        if hyper["ratio"] > conv.out_channels:
            return f"ratio={hyper['ratio']} exceeds the {conv.out_channels} output channels"
        return None

    def _imitate(self, conv: nn.Conv2d, inputs: Tensor | None) -> None:
        primary = self.primary.out_channels
        self.primary.weight.copy_(conv.weight[:primary])
        filters = conv.weight.flatten(1)
        ghosts = torch.arange(primary, conv.out_channels, device=filters.device)
        origins = (ghosts - primary) // (self.cheap.out_channels // primary)
        base = filters[origins]
        share = (filters[ghosts] * base).sum(1) / base.square().sum(1).clamp_min(1e-12)
        self.cheap.weight.zero_()
        self.cheap.weight[: len(ghosts), 0, 1, 1] = share
        if conv.bias is not None and self.primary.bias is not None and self.cheap.bias is not None:
            self.primary.bias.copy_(conv.bias[:primary])
            self.cheap.bias.zero_()
            self.cheap.bias[: len(ghosts)] = conv.bias[ghosts] - share * conv.bias[origins]
        if inputs is not None:
            self._fit(conv(inputs), self.primary(inputs))

    def _fit(self, target: Tensor, primary: Tensor) -> None:
        ghosts = target[:, primary.shape[1] :]
        unused = self.cheap.out_channels - ghosts.shape[1]
        if unused:
            ghosts = torch.cat(
                [ghosts, ghosts.new_zeros(len(ghosts), unused, *ghosts.shape[2:])], 1
            )
        fit_conv(self.cheap, primary, ghosts)

    def forward(self, x: Tensor) -> Tensor:
        primary = self.primary(x)
        return torch.cat([primary, self.cheap(primary)], dim=1)[:, : self.out_channels]
