"""Photographs and activations for the tests of networks: real data that ships with a library."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt

from pareconv.models.teachers.architecture import Architecture


@pytest.fixture(scope="session")
def photographs() -> Tensor:
    """Crops of two photographs, normalised: [64, 3, 32, 32]."""
    pictures = torch.from_numpy(np.stack(load_sample_images().images)).permute(0, 3, 1, 2).float()
    small = nn.functional.interpolate(pictures, scale_factor=0.5, mode="bilinear", antialias=True)
    crops = small.unfold(2, 32, 32).unfold(3, 32, 32).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
    chosen = crops[torch.randperm(len(crops), generator=torch.Generator().manual_seed(0))[:64]]
    return (chosen - pictures.mean()) / pictures.std()


@pytest.fixture(scope="session")
def activations(photographs: Tensor) -> Tensor:
    """What a layer in a network sees: rectified features of photographs, [64, 18, 32, 32]."""
    generator = torch.Generator().manual_seed(1)
    filters = torch.randn(18, 3, 3, 3, generator=generator)
    with torch.no_grad():
        return nn.functional.conv2d(photographs, filters / 5, padding=1).relu()


@pytest.fixture(scope="session")
def small_convnext() -> Architecture:
    """torchvision's ConvNeXt with three blocks of 16 and 32 channels, in two stages."""

    def build(num_classes: int) -> nn.Module:
        stages = [CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 2)]
        # By default a fresh block adds a millionth of what it computes.
        return ConvNeXt(stages, 0.1, layer_scale=0.5, num_classes=num_classes)

    return Architecture(name="small_convnext", family="test", source="test", build=build)
