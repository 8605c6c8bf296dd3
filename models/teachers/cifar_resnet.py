"""The CIFAR ResNet of He et al. 2016, section 4.2. Knows nothing of weights files."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pareconv.models.teachers.initialisation import he_initialise

Shortcut = Literal["A", "B"]


class SubsamplingShortcut(nn.Module):
    """Option A, without parameters: every `stride`-th pixel, new channels filled with zeros.

    Half of the new channels come before the old ones and half after them.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.before = (out_channels - in_channels) // 2
        self.after = out_channels - in_channels - self.before

    def forward(self, x: Tensor) -> Tensor:
        subsampled = x[:, :, :: self.stride, :: self.stride]
        return F.pad(subsampled, (0, 0, 0, 0, self.before, self.after))


class BasicBlock(nn.Module):
    """conv-bn-relu-conv-bn plus the shortcut, then relu."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, shortcut: Shortcut
    ) -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_channels, out_channels, stride=stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = _conv3x3(out_channels, out_channels, stride=1)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = _shortcut(in_channels, out_channels, stride=stride, form=shortcut)

    def forward(self, x: Tensor) -> Tensor:
        residual = F.relu(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        return F.relu(residual + self.shortcut(x))


class CifarResNet(nn.Module):
    """Depth 6n + 2: a 3x3 stem, three stages of n basic blocks of 16, 32 and 64 channels, linear.

    Takes (N, 3, H, W) with any H, W >= 8 and gives (N, num_classes). The names of its parameters
    are those of the checkpoints in wide use. Raises ValueError for a depth that is not 6n + 2.
    """

    def __init__(self, depth: int, num_classes: int, *, shortcut: Shortcut = "A") -> None:
        super().__init__()
        num_blocks, rest = divmod(depth - 2, 6)
        if rest or num_blocks < 1:
            raise ValueError(f"depth {depth} is not 6n + 2; take 8, 14, 20, 32, 44, 56 or 110")
        self.conv1 = _conv3x3(3, 16, stride=1)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, num_blocks=num_blocks, shortcut=shortcut)
        self.layer2 = _stage(16, 32, num_blocks=num_blocks, shortcut=shortcut)
        self.layer3 = _stage(32, 64, num_blocks=num_blocks, shortcut=shortcut)
        self.linear = nn.Linear(64, num_classes)
        he_initialise(self.modules())

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        x = torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)
        return self.linear(x)  # type: ignore[no-any-return]


def _conv3x3(in_channels: int, out_channels: int, *, stride: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)


def _shortcut(in_channels: int, out_channels: int, *, stride: int, form: Shortcut) -> nn.Module:
    if form == "A":
        return SubsamplingShortcut(in_channels, out_channels, stride=stride)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )


def _stage(
    in_channels: int, out_channels: int, *, num_blocks: int, shortcut: Shortcut
) -> nn.Sequential:
    stride = 1 if in_channels == out_channels else 2
    first = BasicBlock(in_channels, out_channels, stride=stride, shortcut=shortcut)
    others = [
        BasicBlock(out_channels, out_channels, stride=1, shortcut=shortcut)
        for _ in range(num_blocks - 1)
    ]
    return nn.Sequential(first, *others)
