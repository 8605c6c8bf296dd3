"""SVD: a k x k kernel as a column of taps followed by a row of taps; a 1x1 as two narrow ones."""

from torch import Tensor, nn

from pareconv.models.convolutions.base import CheapConv
from pareconv.models.convolutions.fitting import fit_conv, patches, truncated
from pareconv.models.convolutions.geometry import pair
from pareconv.models.convolutions.operator import Hyper


class SpatialSVD(CheapConv):
    """x -> k x 1 convolution Ci -> R (vertical stride) -> 1 x k convolution R -> Co (horizontal
    stride, bias). Of a 1x1 convolution two 1x1 through R channels are left, the stride in the
    first.

    R is chosen so that `ratio` of the parameters remain. Start: truncated SVD of the kernel as a
    (Co*k) x (Ci*k) matrix (Jaderberg et al. 2014, arXiv 1405.3866), weighted by the second moments
    of what the columns see where inputs are given; exact at full rank.
    """

    name = "svd"
    version = 2  # 1 left 1x1 convolutions as they were
    summary = "k x 1 then 1 x k through R channels: starts very close to the source"
    formula = "k x 1 Ci -> R, 1 x k R -> Co; of a 1x1 two 1x1 through R"
    cost = "params R*k*(Ci+Co); multiply-adds R*k*(Ci*Ho*W + Co*Ho*Wo)"
    source = "Jaderberg et al. 2014, arXiv 1405.3866"
    when = "The first choice from half to a quarter of the cost: hardly any training is needed."
    hyper = (
        Hyper(
            "ratio",
            0.01,
            1.0,
            (0.125, 0.25, 0.375, 0.5, 0.625, 0.75),
            "share of the parameters that remains",
        ),
    )

    def __init__(self, conv: nn.Conv2d, *, ratio: float) -> None:
        super().__init__(conv)
        (kh, kw), (sh, sw), (dh, dw) = conv.kernel_size, conv.stride, conv.dilation
        ph, pw = pair(conv.padding)  # type: ignore[arg-type]  # in pixels: others are refused
        # What has no row of taps is strided and padded at once.
        early_stride, early_padding = (sw, pw) if kw == 1 else (1, 0)
        rank = max(
            1, int(ratio * conv.weight.numel() / (kh * conv.in_channels + kw * conv.out_channels))
        )
        self.vertical = nn.Conv2d(
            conv.in_channels, rank, (kh, 1), (sh, early_stride), (ph, early_padding), (dh, 1),
            bias=False, padding_mode=conv.padding_mode,
        )  # fmt: skip
        self.horizontal = nn.Conv2d(
            rank, conv.out_channels, (1, kw), (1, sw // early_stride), (0, pw - early_padding),
            (1, dw), bias=conv.bias is not None, padding_mode=conv.padding_mode,
        )  # fmt: skip

    def _imitate(self, conv: nn.Conv2d, inputs: Tensor | None) -> None:
        co, ci, kh, kw = conv.weight.shape
        matrix = conv.weight.permute(0, 3, 1, 2).reshape(co * kw, ci * kh)
        rank = min(self.vertical.out_channels, *matrix.shape)
        seen = None if inputs is None else patches(self.vertical, inputs)
        rows, columns = truncated(matrix, rank, seen)
        # Ranks beyond the kernel's own add nothing.
        self.vertical.weight.zero_()
        self.vertical.weight[:rank] = columns.reshape(rank, ci, kh, 1)
        self.horizontal.weight.zero_()
        self.horizontal.weight[:, :rank] = rows.reshape(co, kw, rank).transpose(1, 2)[:, :, None]
        if conv.bias is not None and self.horizontal.bias is not None:
            self.horizontal.bias.copy_(conv.bias)
        if inputs is not None:
            fit_conv(self.horizontal, self.vertical(inputs), conv(inputs))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.horizontal(self.vertical(x))
        return out
