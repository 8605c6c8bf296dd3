"""The centre of a convolution's window: what a 1x1 in its place reads."""

import torch.nn.functional as F
from torch import Tensor, nn

from pareconv.models.convolutions.geometry import pad_mode, pads_of, pair


class Centre:
    """Pads or crops an input so that a plain 1x1 with the stride of `conv` reads the middle taps of
    its windows and gives its output shape. With the usual padding of half a kernel there is nothing
    to do.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        left, right, top, bottom = pads_of(conv)
        reach_y, reach_x = (
            dilation * (kernel - 1)
            for dilation, kernel in zip(conv.dilation, conv.kernel_size, strict=True)
        )
        before_y, before_x = (
            dilation * ((kernel - 1) // 2)
            for dilation, kernel in zip(conv.dilation, conv.kernel_size, strict=True)
        )
        self._crop = (
            left - before_x,
            right - (reach_x - before_x),
            top - before_y,
            bottom - (reach_y - before_y),
        )
        self._mode = pad_mode(conv) if max(self._crop) > 0 else "constant"
        self._stride = pair(conv.stride)

    def aligned(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> the input that the strided 1x1 is to be given."""
        return F.pad(x, self._crop, mode=self._mode) if any(self._crop) else x

    def taps(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, Ho, Wo], the middle taps themselves."""
        return self.aligned(x)[:, :, :: self._stride[0], :: self._stride[1]]


class CentreConv(nn.Conv2d):
    """1x1 convolution with the stride and output shape of `conv`, on the centre of its window."""

    def __init__(self, conv: nn.Conv2d, *, bias: bool) -> None:
        super().__init__(
            conv.in_channels, conv.out_channels, 1, stride=pair(conv.stride), bias=bias
        )
        self._centre = Centre(conv)

    def centred(self, x: Tensor) -> Tensor:
        """The input on which a plain strided 1x1 gives this layer's output."""
        return self._centre.aligned(x)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.centred(x))
