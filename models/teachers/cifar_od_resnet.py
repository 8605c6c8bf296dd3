"""The student of OD-cheap-convolution (Xie et al. 2019, arXiv 1909.13063): a CIFAR ResNet whose
blocks are cheap from the start. Knows nothing of weights files.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pareconv.models.convolutions.shift import Shift
from pareconv.models.teachers.initialisation import he_initialise

# channels -> what looks at their neighbours
Spatial = Callable[[int], nn.Module]


class ShiftTaps(nn.Module):
    """A 3x3 shift alone: the channels in the order of the taps that they read."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self._moved = Shift(nn.Conv2d(channels, 1, 3, padding=1, bias=False)).shift

    def forward(self, x: Tensor) -> Tensor:
        return self._moved(x)


def grouped(channels: int, *, groups: int | None = None) -> nn.Module:
    """A 3x3 group convolution; without `groups` a depthwise one."""
    return nn.Conv2d(channels, channels, 3, padding=1, groups=groups or channels, bias=False)


class CheapBlock(nn.Module):
    """Twice a spatial part, 1x1, batch norm and ReLU, then the shortcut and nothing after it.

    Nothing stands between a spatial part and its 1x1. The width changes in the first 1x1, the
    stride is in the second: both spatial parts run at the resolution of the input.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, spatial: Spatial
    ) -> None:
        super().__init__()
        self.spatial1 = spatial(in_channels)
        self.conv1 = _conv1x1(in_channels, out_channels, stride=1)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.spatial2 = spatial(out_channels)
        self.conv2 = _conv1x1(out_channels, out_channels, stride=stride)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                _conv1x1(in_channels, out_channels, stride=stride), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = F.relu(self.bn1(self.conv1(self.spatial1(x))))
        y = F.relu(self.bn2(self.conv2(self.spatial2(y))))
        out: Tensor = y + self.shortcut(x)
        return out


class CifarOdResNet(nn.Module):
    """Depth 6n + 2: a dense 3x3 stem, three stages of n cheap blocks of 16, 32 and 64 channels,
    linear; as the authors' code has it (model/cifar10/shiftresnet.py).

    Takes (N, 3, H, W) with any H, W >= 8 and gives (N, num_classes).
    """

    def __init__(self, depth: int, num_classes: int, *, spatial: Spatial) -> None:
        super().__init__()
        num_blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, num_blocks=num_blocks, spatial=spatial)
        self.layer2 = _stage(16, 32, num_blocks=num_blocks, spatial=spatial)
        self.layer3 = _stage(32, 64, num_blocks=num_blocks, spatial=spatial)
        self.linear = nn.Linear(64, num_classes)
        he_initialise(self.modules())

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        x = torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)
        return self.linear(x)  # type: ignore[no-any-return]


def _conv1x1(in_channels: int, out_channels: int, *, stride: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)


def _stage(
    in_channels: int, out_channels: int, *, num_blocks: int, spatial: Spatial
) -> nn.Sequential:
    stride = 1 if in_channels == out_channels else 2
    first = CheapBlock(in_channels, out_channels, stride=stride, spatial=spatial)
    others = [
        CheapBlock(out_channels, out_channels, stride=1, spatial=spatial)
        for _ in range(num_blocks - 1)
    ]
    return nn.Sequential(first, *others)
