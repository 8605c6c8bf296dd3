"""The weights a network of ours starts from when none are given; knows no architecture."""

from collections.abc import Iterable

from torch import nn


def he_initialise(modules: Iterable[nn.Module]) -> None:
    """Draw the weights of every convolution among them as He et al. 2015 do, by its fan-out; biases
    become 0.
    """
    for module in modules:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
