"""Cutting: the parts of a network together are the network."""

import pytest
import torch
from torch import Tensor, fx, nn

from pareconv.models.blocks import Block, find_blocks
from pareconv.models.cutting import cut, cut_block, cut_tail, entry, result
from pareconv.models.graph import canonical
from pareconv.models.teachers.architectures import architecture

# One of each structure: residual (parameter-free and 1x1 shortcuts), Inception, dense, depthwise
# with squeeze-and-excitation, channel shuffle, plain.
NETWORKS = {
    "cifar_resnet8": 32,
    "cifar_resnet8_b": 32,
    "googlenet": 64,
    "densenet121": 32,
    "mobilenet_v3_small": 32,
    "shufflenet_v2_x0_5": 32,
    "vgg11_bn": 32,
}


class InPlace(nn.Module):
    """Activations and sums that overwrite their inputs, also those of a block."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.first = nn.Conv2d(8, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        out = self.second(self.relu(self.first(nn.functional.relu(x, inplace=True))))
        out += x
        return self.head(self.relu(out).mean((2, 3)))  # type: ignore[no-any-return]


def frozen(network: nn.Module) -> fx.GraphModule:
    return canonical(network).eval().requires_grad_(False)


@pytest.fixture(scope="module", params=NETWORKS)
def teacher(request: pytest.FixtureRequest) -> tuple[fx.GraphModule, Tensor]:
    """A network of the zoo and images of a size it takes."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = frozen(architecture(request.param).build(10))
    size = NETWORKS[request.param]
    return network, torch.randn(2, 3, size, size, generator=generator)


def assembled(network: fx.GraphModule, block: Block, images: Tensor) -> Tensor:
    """The network's answer, computed up to the block, in it, and after it."""
    names, tail = cut_tail(network, block)
    head = cut(network, [entry(network)], [block.input, *names[1:]])
    seen, *passing = head(images)
    (output,) = cut_block(network, block)(seen)
    (logits,) = tail(output, *passing)
    assert isinstance(logits, Tensor)
    return logits


@pytest.mark.parametrize("granularity", ["block", "conv"])
def test_head_block_and_tail_are_the_whole(
    teacher: tuple[fx.GraphModule, Tensor], granularity: str
) -> None:
    network, images = teacher
    blocks = find_blocks(network, granularity)  # type: ignore[arg-type]
    whole = network(images)
    for block in blocks[:: max(1, len(blocks) // 6)]:
        torch.testing.assert_close(assembled(network, block, images), whole)


@pytest.mark.parametrize("granularity", ["block", "conv"])
def test_in_place_operations_do_no_harm(granularity: str) -> None:
    network, images = frozen(InPlace()), torch.randn(2, 3, 8, 8)
    whole = network(images)
    for block in find_blocks(network, granularity):  # type: ignore[arg-type]
        part = cut(network, [entry(network)], [block.input, block.output])
        seen, target = part(images)
        before = seen.clone()
        for _ in range(2):  # several networks look at the same input, one after the other
            torch.testing.assert_close(cut_block(network, block)(seen)[0], target)
        assert torch.equal(seen, before)
        torch.testing.assert_close(assembled(network, block, images), whole)


def test_several_values_come_in_the_order_asked_for() -> None:
    network = frozen(architecture("cifar_resnet8").build(10))
    images = torch.randn(2, 3, 32, 32)
    logits, seen, again = cut(
        network, [entry(network)], [result(network), entry(network), result(network)]
    )(images)
    assert seen is images
    assert torch.equal(logits, network(images))
    assert torch.equal(again, logits)


def test_a_part_shares_the_modules_of_the_network() -> None:
    network = frozen(architecture("cifar_resnet8").build(10))
    block = next(block for block in find_blocks(network, "block") if block.name == "layer1.0")
    part = cut_block(network, block)
    assert part.get_submodule("layer1.0.conv1") is network.get_submodule("layer1.0.conv1")
    assert all(name.startswith("layer1.0.") for name in part.state_dict())
    assert not part.training


def test_an_output_that_needs_more_than_the_inputs_is_refused() -> None:
    network = frozen(architecture("cifar_resnet8").build(10))
    block = next(block for block in find_blocks(network, "block") if block.name == "layer2.0")
    names, _ = cut_tail(network, block)
    assert names == [block.output]
    inner = next(block for block in find_blocks(network, "conv") if block.name == "layer2.0.conv1")
    with pytest.raises(ValueError, match=f"{result(network)} need {entry(network)}, which is not"):
        cut(network, [inner.output], [result(network)])
