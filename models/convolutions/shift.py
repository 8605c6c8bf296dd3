"""Shift: every channel moves by one fixed offset, then a 1x1 mixes them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pareconv.models.convolutions.base import CheapConv
from pareconv.models.convolutions.fitting import fit_conv
from pareconv.models.convolutions.geometry import pad_mode, pads_of
from pareconv.models.convolutions.operator import Hyper
from pareconv.models.plan import HyperValue


class Shift(CheapConv):
    """x -> shift (no parameters, stride here) -> 1x1 (bias as in the source).

    The offsets are those of OD-cheap-convolution's kernel: of k*k taps, channel c reads tap c %
    (k*k), row by row, as long as a whole set of k*k channels is left; the remaining channels read
    the centre (Xie et al. 2019, arXiv 1909.13063). With `even=1` the channels are split into runs
    of equal length instead, one for each tap, the remainder at the centre again (Wu et al. 2018,
    arXiv 1711.08141). A shift is a strided slice: it costs a copy.
    """

    name = "shift"
    summary = "parameter-free spatial shift, then 1x1: as cheap as a 1x1, but sees its neighbours"
    formula = "each channel moved by one tap of the window, then 1x1 Ci -> Co"
    cost = "params Ci*Co; multiply-adds Ci*Co*Ho*Wo"
    source = "Wu et al. 2018, arXiv 1711.08141; assignment of Xie et al. 2019, arXiv 1909.13063"
    when = "As cheap as pointwise where neighbours matter; wants training."

    hyper = (
        Hyper(
            "even",
            0,
            1,
            (0,),
            "1 gives each tap a run of channels, 0 deals the channels out by turns",
            default=0,
        ),
    )

    def __init__(self, conv: nn.Conv2d, *, even: int = 0) -> None:
        super().__init__(conv)
        self.kernel_size, self.stride, self.dilation = conv.kernel_size, conv.stride, conv.dilation
        self.pads, self.mode = pads_of(conv), pad_mode(conv)
        self.taps = conv.kernel_size[0] * conv.kernel_size[1]
        self.shifted = conv.in_channels // self.taps * self.taps
        self.even = bool(even)
        self.pointwise = nn.Conv2d(
            conv.in_channels, conv.out_channels, 1, bias=conv.bias is not None
        )

    @classmethod
    def _refusal(cls, conv: nn.Conv2d, **hyper: HyperValue) -> str | None:
        taps = conv.kernel_size[0] * conv.kernel_size[1]
        if taps == 1:
            return "1x1: nothing to shift"
        if conv.in_channels < taps:
            return f"{conv.in_channels} input channels, fewer than the {taps} taps to shift them to"
        return None

    def _imitate(self, conv: nn.Conv2d, inputs: Tensor | None) -> None:
        channels = list(range(conv.in_channels))
        order = [c for tap in range(self.taps) for c in channels[self._channels(tap)]]
        order += channels[self.shifted :]
        self.pointwise.weight.copy_(conv.weight.sum((2, 3), keepdim=True)[:, order])
        if conv.bias is not None and self.pointwise.bias is not None:
            self.pointwise.bias.copy_(conv.bias)
        if inputs is not None:
            fit_conv(self.pointwise, self.shift(inputs), conv(inputs))

    def shift(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, Ho, Wo], channels grouped by the tap that they read."""
        x = F.pad(x, self.pads, mode=self.mode) if any(self.pads) else x
        groups = [
            self._tap(x[:, self._channels(tap)], *divmod(tap, self.kernel_size[1]))
            for tap in range(self.taps)
        ]
        if self.shifted < self.pointwise.in_channels:
            centre = ((k - 1) // 2 for k in self.kernel_size)
            groups.append(self._tap(x[:, self.shifted :], *centre))
        return torch.cat(groups, dim=1)

    def _channels(self, tap: int) -> slice:
        """Those that read the tap of that number."""
        if not self.even:
            return slice(tap, self.shifted, self.taps)
        run = self.shifted // self.taps
        return slice(tap * run, (tap + 1) * run)

    def _tap(self, x: Tensor, *tap: int) -> Tensor:
        rows, columns = (
            slice(place * dilation, -(kernel - 1 - place) * dilation or None, stride)
            for place, kernel, dilation, stride in zip(
                tap, self.kernel_size, self.dilation, self.stride, strict=True
            )
        )
        return x[:, :, rows, columns]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pointwise(self.shift(x))
        return out
