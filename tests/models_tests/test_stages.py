"""Stages: where the resolution of a network changes."""

import pytest
import torch

from pareconv.models.blocks import find_blocks
from pareconv.models.cutting import cut, entry
from pareconv.models.graph import canonical
from pareconv.models.stages import stage_ends
from pareconv.models.teachers.architectures import architecture


@pytest.mark.parametrize(
    ("name", "side", "sides"),
    [
        ("cifar_resnet8", 32, [32, 16, 8]),
        ("cifar_resnet8", 8, [8, 4, 2]),
        ("vgg11_bn", 32, [32, 16, 8, 4, 2]),
    ],
)
def test_there_is_one_for_each_resolution_in_the_order_of_the_flow(
    name: str, side: int, sides: list[int]
) -> None:
    network = canonical(architecture(name).build(10)).eval()
    images = torch.zeros(1, 3, side, side)
    values = cut(network, [entry(network)], stage_ends(network, images))(images)
    assert [value.shape[-1] for value in values] == sides


def test_it_is_the_last_block_of_its_resolution() -> None:
    network = canonical(architecture("cifar_resnet14").build(10)).eval()
    ends = stage_ends(network, torch.zeros(1, 3, 32, 32))
    names = {block.output: block.name for block in find_blocks(network, "block")}
    assert [names[end] for end in ends] == ["layer1.1", "layer2.1", "layer3.1"]
