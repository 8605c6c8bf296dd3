"""The pre-activation wide ResNet of Zagoruyko & Komodakis 2016. Knows nothing of weights."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pareconv.models.teachers.initialisation import he_initialise


class PreActivationBlock(nn.Module):
    """bn-relu-conv-bn-relu-conv plus the input; where the shape changes, plus a 1x1 convolution
    of the first bn-relu.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.convShortcut: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.convShortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.bn1(x))
        residual = self.conv2(F.relu(self.bn2(self.conv1(activated))))
        shortcut = x if self.convShortcut is None else self.convShortcut(activated)
        return residual + shortcut  # type: ignore[no-any-return]


class _Stage(nn.Module):
    # A module of its own for the sake of the published names, `block1.layer.0`.
    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, num_blocks: int
    ) -> None:
        super().__init__()
        first = PreActivationBlock(in_channels, out_channels, stride=stride)
        others = [
            PreActivationBlock(out_channels, out_channels, stride=1) for _ in range(num_blocks - 1)
        ]
        self.layer = nn.Sequential(first, *others)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)  # type: ignore[no-any-return]


class CifarWideResNet(nn.Module):
    """Depth 6n + 4 and `width` times the 16, 32 and 64 channels of the plain ResNet.

    Takes (N, 3, H, W) with any H, W >= 8 and gives (N, num_classes). The names of its parameters
    are those of the checkpoints in wide use (`block1.layer.0.conv1`, `convShortcut`, `fc`).
    Raises ValueError for a depth that is not 6n + 4.
    """

    def __init__(self, depth: int, width: int, num_classes: int) -> None:
        super().__init__()
        num_blocks, rest = divmod(depth - 4, 6)
        if rest or num_blocks < 1:
            raise ValueError(f"depth {depth} is not 6n + 4; take 16, 22, 28 or 40")
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.block1 = _Stage(16, 16 * width, stride=1, num_blocks=num_blocks)
        self.block2 = _Stage(16 * width, 32 * width, stride=2, num_blocks=num_blocks)
        self.block3 = _Stage(32 * width, 64 * width, stride=2, num_blocks=num_blocks)
        self.bn1 = nn.BatchNorm2d(64 * width)
        self.fc = nn.Linear(64 * width, num_classes)
        he_initialise(self.modules())

    def forward(self, x: Tensor) -> Tensor:
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        x = F.adaptive_avg_pool2d(F.relu(self.bn1(x)), 1)
        return self.fc(torch.flatten(x, 1))  # type: ignore[no-any-return]
