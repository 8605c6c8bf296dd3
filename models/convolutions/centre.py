"""A 1x1 convolution that looks at the centre of another convolution's window."""

import torch.nn.functional as F
from torch import Tensor, nn

from pareconv.models.convolutions.geometry import pad_mode, pads_of, pair


class CentreConv(nn.Conv2d):
    """1x1 convolution with the stride and output shape of `conv`, reading the middle tap of its
    window.

    With the usual padding of half a kernel this is a plain strided 1x1; otherwise the input is
    padded or cropped first.
    """

    def __init__(self, conv: nn.Conv2d, *, bias: bool) -> None:
        super().__init__(
            conv.in_channels, conv.out_channels, 1, stride=pair(conv.stride), bias=bias
        )
        left, right, top, bottom = pads_of(conv)
        reach_y, reach_x = (
            dilation * (kernel - 1)
            for dilation, kernel in zip(conv.dilation, conv.kernel_size, strict=True)
        )
        before_y, before_x = (
            dilation * ((kernel - 1) // 2)
            for dilation, kernel in zip(conv.dilation, conv.kernel_size, strict=True)
        )
        self.crop = (
            left - before_x,
            right - (reach_x - before_x),
            top - before_y,
            bottom - (reach_y - before_y),
        )
        self.crop_mode = pad_mode(conv) if max(self.crop) > 0 else "constant"

    def centred(self, x: Tensor) -> Tensor:
        """The input on which a plain strided 1x1 gives this layer's output."""
        return F.pad(x, self.crop, mode=self.crop_mode) if any(self.crop) else x

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.centred(x))
