"""Bottleneck: squeeze the channels, convolve, expand again."""

from torch import Tensor, nn

from pareconv.models.convolutions.base import CheapConv
from pareconv.models.convolutions.fitting import fit_conv, settled
from pareconv.models.convolutions.geometry import spatial_like
from pareconv.models.convolutions.operator import Hyper
from pareconv.models.convolutions.tucker import factors
from pareconv.models.plan import HyperValue

_LIFT = 3.0  # standard deviations by which a batch norm starts above the bend of its ReLU


class Bottleneck(CheapConv):
    """x -> 1x1 Ci -> m -> BN, ReLU -> k x k m -> m (stride, ...) -> BN, ReLU -> 1x1 m -> Co (bias);
    m = Co / reduction.

    Batch norms and activations as in Moonshine's block B(b) (Crowley et al. 2018) and ResNet's (He
    et al. 2016). Start: the two inner layers from the leading directions of the kernel (HOSVD),
    batch norms from the sample, the last 1x1 by least squares.
    """

    name = "bottleneck"
    summary = "1x1 down, k x k at reduced width, 1x1 up, with batch norms and ReLUs between"
    formula = "1x1 Ci -> m, BN, ReLU, k x k m -> m, BN, ReLU, 1x1 m -> Co"
    cost = (
        "m = floor(Co/b); params Ci*m + m^2*k^2 + m*Co + 4*m; "
        "multiply-adds Ci*m*H*W + (m^2*k^2 + m*Co)*Ho*Wo, and 2*m*(H*W + Ho*Wo) of batch norm"
    )
    source = "Crowley et al. 2018 (Moonshine); He et al. 2016, arXiv 1512.03385"
    when = (
        "Wide layers, and a finish long enough for its own batch norms; otherwise tucker "
        "starts closer."
    )
    hyper = (Hyper("reduction", 2, 64, (2, 4), "b: how many times narrower than Co the middle is"),)

    def __init__(self, conv: nn.Conv2d, *, reduction: int) -> None:
        super().__init__(conv)
        width = max(1, conv.out_channels // reduction)
        self.down = nn.Conv2d(conv.in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.spatial = spatial_like(conv, width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.up = nn.Conv2d(width, conv.out_channels, 1, bias=conv.bias is not None)

    @classmethod
    def _refusal(cls, conv: nn.Conv2d, **hyper: HyperValue) -> str | None:
        if conv.kernel_size == (1, 1):
            return "1x1: has no spatial part to narrow"
        width = max(1, conv.out_channels // int(hyper["reduction"]))
        if width > conv.in_channels:
            return (
                f"reduction={hyper['reduction']} leaves {width} channels, "
                f"above the {conv.in_channels} inputs"
            )
        return None

    def _imitate(self, conv: nn.Conv2d, inputs: Tensor | None) -> None:
        width = self.down.out_channels
        into, core, out = factors(conv, width, width, inputs)
        self.down.weight.copy_(into[:, :, None, None])
        self.spatial.weight.copy_(core)
        self.up.weight.copy_(out[:, :, None, None])
        if conv.bias is not None and self.up.bias is not None:
            self.up.bias.copy_(conv.bias)
        if inputs is not None:
            fit_conv(self.up, self._measured(inputs), conv(inputs))

    def _measured(self, inputs: Tensor) -> Tensor:
        """Input of the last 1x1, after both batch norms took their statistics from `inputs`."""
        for norm in (self.bn1, self.bn2):
            norm.bias.fill_(_LIFT)
        hidden = settled(self.bn1, self.down(inputs)).relu()
        return settled(self.bn2, self.spatial(hidden)).relu()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.bn1(self.down(x)).relu()
        hidden = self.bn2(self.spatial(hidden)).relu()
        out: Tensor = self.up(hidden)
        return out
