"""The CIFAR form of MobileNetV2 (Sandler et al. 2018). Knows nothing of weights."""

from torch import nn
from torchvision.models import MobileNetV2

# expansion, channels, blocks, stride: the paper's table 2, where the second row has stride 2.
_STAGES = [
    [1, 16, 1, 1],
    [6, 24, 2, 1],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
]


def cifar_mobilenet_v2(num_classes: int) -> nn.Module:
    """MobileNetV2 that halves its input three times, not five: in stages three, four and six.

    Takes (N, 3, H, W) with any H, W >= 8 and gives (N, num_classes); the names of its parameters
    are torchvision's.
    """
    network: nn.Module = MobileNetV2(num_classes, inverted_residual_setting=_STAGES)
    stem = network.get_submodule("features.0.0")
    assert isinstance(stem, nn.Conv2d)
    stem.stride = (1, 1)
    return network
