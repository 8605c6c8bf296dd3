"""Block discovery: stretches found from the data flow alone."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, fx, nn

from pareconv.models.blocks import Granularity, LeftOut, find_blocks, find_left_out
from pareconv.models.graph import canonical
from pareconv.models.teachers.architectures import architecture


def graph_of(name: str) -> fx.GraphModule:
    return canonical(architecture(name).build(10))


def blocks_of(name: str, granularity: Granularity = "block") -> dict[str, tuple[str, ...]]:
    return {block.name: block.convs for block in find_blocks(graph_of(name), granularity)}


def test_residual_blocks_of_a_cifar_resnet() -> None:
    blocks = blocks_of("cifar_resnet20")
    stages = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in (0, 1, 2)]
    assert list(blocks) == ["conv1", *stages]
    assert blocks["layer2.0"] == ("layer2.0.conv1", "layer2.0.conv2")


def test_a_projection_shortcut_belongs_to_its_block() -> None:
    assert blocks_of("cifar_resnet20_b")["layer2.0"] == (
        "layer2.0.conv1",
        "layer2.0.conv2",
        "layer2.0.shortcut.0",
    )


def test_a_plain_net_is_a_block_per_convolution() -> None:
    blocks = blocks_of("cifar_vgg16_bn")
    assert len(blocks) == 13
    assert all(convs == (name,) for name, convs in blocks.items())


def test_preactivation_blocks_of_a_wide_resnet() -> None:
    sizes = [len(convs) for convs in blocks_of("cifar_wrn_40_2").values()]
    assert sizes == [1] + ([3] + [2] * 5) * 3


def test_inception_modules_are_whole_blocks() -> None:
    blocks = blocks_of("googlenet")
    assert len([name for name in blocks if name.startswith("inception")]) == 9
    assert len(blocks["inception4b"]) == 6


def test_a_dense_block_is_taken_apart_into_its_layers() -> None:
    blocks = blocks_of("densenet121")
    assert len(blocks) == 120
    assert blocks["features.denseblock2.denselayer3.conv2"] == (
        "features.denseblock2.denselayer3.conv2",
    )


def test_blocks_of_a_convnext_have_its_linear_layers() -> None:
    blocks = blocks_of("convnext_tiny")
    assert len(blocks) == 3 + 3 + 9 + 3 + 4  # and the stem and what is between the stages
    assert blocks["features.1.0"] == ("features.1.0.block.3", "features.1.0.block.5")


def test_granularity_conv_has_every_dense_convolution() -> None:
    assert len(blocks_of("cifar_resnet20", "conv")) == 19
    assert len(blocks_of("googlenet", "conv")) == 57


@pytest.mark.parametrize(
    "name", ["resnet18", "cifar_wrn_40_2", "googlenet", "shufflenet_v2_x1_0", "efficientnet_b0"]
)
def test_a_block_is_a_function_of_one_value(name: str) -> None:
    """Cut out by its own two ends, every block computes its output from its input alone."""
    network = graph_of(name).eval()
    values: dict[str, Tensor] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> object:
            values[n.name] = result = super().run_node(n)
            return result

    with torch.no_grad():
        Recorder(network, garbage_collect_values=False).run(torch.randn(2, 3, 64, 64))
        nodes = {node.name: node for node in network.graph.nodes}
        for block in find_blocks(network, "block"):
            stretch = cut_out(network, nodes[block.input], nodes[block.output])
            torch.testing.assert_close(stretch(values[block.input]), values[block.output])
            called = {str(node.target) for node in stretch.graph.nodes if node.op == "call_module"}
            assert set(block.convs) <= called


def cut_out(network: fx.GraphModule, start: fx.Node, end: fx.Node) -> fx.GraphModule:
    """The graph that computes `end` from `start`; a KeyError if it needs any other value."""
    graph = fx.Graph()
    copied = {start: graph.placeholder("x")}

    def copy(node: fx.Node) -> fx.Node:
        if node not in copied:
            if node.op == "placeholder":
                raise KeyError(node)
            copied[node] = graph.node_copy(node, copy)
        return copied[node]

    graph.output(copy(end))
    return fx.GraphModule(network, graph)


class Anonymous(nn.Module):
    """A residual net whose names tell nothing, with a shared, a grouped and a transposed
    convolution.
    """

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 8, 3, padding=1)
        self.c = nn.Conv2d(8, 8, 3, padding=1)
        self.d = nn.Conv2d(8, 8, 3, padding=1)
        self.e = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.f = nn.ConvTranspose2d(8, 8, 2)
        self.g = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.a(x))
        x = F.relu(self.c(F.relu(self.b(x))) + x)
        x = self.d(self.d(x))
        return self.g(self.f(self.e(x)).mean((2, 3)))


def test_names_do_not_matter_and_what_is_left_out_is_told() -> None:
    network = canonical(Anonymous())
    blocks = find_blocks(network, "block")
    assert [block.convs for block in blocks] == [("a",), ("b", "c")]
    assert [block.name for block in blocks] == ["a", "b..c"]
    assert find_left_out(network) == [
        LeftOut("d", "shared: used 2 times in the graph"),
        LeftOut("e", "grouped (groups=8): only dense convolutions are replaced"),
        LeftOut("f", "ConvTranspose2d: only Conv2d is replaced"),
    ]


def test_every_dense_convolution_is_in_one_block_or_left_out() -> None:
    for name in ("cifar_mobilenet_v2", "mnasnet0_5", "regnet_y_400mf", "convnext_tiny"):
        network = graph_of(name)
        convs = {name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
        found = [conv for block in find_blocks(network, "block") for conv in block.convs]
        assert sorted([*found, *(left.name for left in find_left_out(network))]) == sorted(convs)


def test_a_net_can_be_nested() -> None:
    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(6))
            self.up = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(6))
            self.stem = nn.Conv2d(3, 8, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            kept = [self.stem(x)]
            for layer in self.down:
                kept.append(F.relu(layer(kept[-1])))
            x = kept.pop()
            for layer in self.up:
                x = F.relu(layer(x)) + kept.pop()
            return x.mean((2, 3))

    blocks = find_blocks(canonical(UNet()), "block")
    # The outermost stretch has 12 convolutions, too many for one choice; the next inner one has 10.
    assert [len(block.convs) for block in blocks] == [1, 1, 10, 1]


def test_torchvision_stays_as_it_is() -> None:
    network = torchvision.models.resnet18()
    before = [name for name, _ in network.named_modules()]
    find_blocks(canonical(network), "block")
    assert [name for name, _ in network.named_modules()] == before
