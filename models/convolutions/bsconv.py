"""Blueprint separable convolution: a 1x1, then one spatial filter per output channel."""

from torch import Tensor, nn

from pareconv.models.convolutions.base import CheapConv
from pareconv.models.convolutions.fitting import fit_conv, truncated
from pareconv.models.convolutions.geometry import spatial_like
from pareconv.models.plan import HyperValue


class BSConv(CheapConv):
    """x -> 1x1 Ci -> Co -> k x k depthwise (stride, dilation, padding, bias here): BSConv-U.

    Every filter of the source is one spatial blueprint times one weight per input channel. Start:
    the best such approximation of each filter, a Ci x k*k matrix of rank 1 (SVD); where inputs are
    given, the depthwise filters then by least squares.
    """

    name = "bsconv"
    summary = "1x1, then one spatial filter per output: the other order of depthwise"
    formula = "1x1 Ci -> Co, then k x k depthwise on Co"
    cost = "params Ci*Co + Co*k^2; multiply-adds Ci*Co*H*W + Co*k^2*Ho*Wo"
    source = "Haase and Amthor 2020, arXiv 2003.13549"
    when = (
        "Networks whose filters look alike in space, from scratch more than from a teacher: "
        "depthwise starts closer."
    )

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv)
        self.pointwise = nn.Conv2d(conv.in_channels, conv.out_channels, 1, bias=False)
        self.spatial = spatial_like(
            conv, conv.out_channels, conv.out_channels, groups=conv.out_channels,
            bias=conv.bias is not None,
        )  # fmt: skip

    @classmethod
    def _refusal(cls, conv: nn.Conv2d, **hyper: HyperValue) -> str | None:
        return "1x1: has no spatial part to separate" if conv.kernel_size == (1, 1) else None

    def _imitate(self, conv: nn.Conv2d, inputs: Tensor | None) -> None:
        filters = conv.weight.flatten(2)  # [Co, Ci, k*k]
        rows, columns = truncated(filters, 1)  # [Co, Ci, 1], [Co, 1, k*k]
        self.pointwise.weight.copy_(rows[..., None])
        self.spatial.weight.copy_(columns.reshape_as(self.spatial.weight))
        if conv.bias is not None and self.spatial.bias is not None:
            self.spatial.bias.copy_(conv.bias)
        if inputs is not None:
            fit_conv(self.spatial, self.pointwise(inputs), conv(inputs))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.spatial(self.pointwise(x))
        return out
