"""The CIFAR form of VGG-16 with batch norm (Simonyan & Zisserman 2015). Knows no weights."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pareconv.models.teachers.initialisation import he_initialise

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions


class CifarVgg16(nn.Module):
    """13 convolutions in five stages, each ended by a 2x2 maximum, then one 512-wide linear layer.

    Takes (N, 3, H, W) with H, W >= 32 and gives (N, num_classes). The names of its parameters,
    `features.{i}` and `classifier`, are those of the CIFAR checkpoints in wide use.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = _features()
        self.classifier = nn.Linear(_STAGES[-1][0], num_classes)
        he_initialise(self.modules())

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(torch.flatten(x, 1))  # type: ignore[no-any-return]


def _features() -> nn.Sequential:
    layers: list[nn.Module] = []
    in_channels = 3
    for channels, num_convs in _STAGES:
        for _ in range(num_convs):
            conv = nn.Conv2d(in_channels, channels, 3, padding=1)
            layers += [conv, nn.BatchNorm2d(channels), nn.ReLU()]
            in_channels = channels
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)
