"""Layout: linear layers on maps become convolutions, and nothing else changes."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torchvision.ops import StochasticDepth

from pareconv.models.blocks import find_blocks
from pareconv.models.cost import count, flops_by_operator
from pareconv.models.graph import canonical
from pareconv.models.teachers.architecture import Architecture
from pareconv.models.widths import inner_widths


class Positions(nn.Module):
    """A convolution, something done to its map with the channels last, and a head."""

    def __init__(self, *layers: nn.Module, work: Callable[..., Tensor] | None = None) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.layers = nn.ModuleList(layers)
        self.work = work
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.around(self.stem(x)).mean((2, 3)))

    def around(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        if self.work is not None:
            x = self.work(x, *self.layers)
        else:
            for layer in self.layers:
                x = layer(x)
        return x.permute(0, 3, 1, 2)


def kinds(graph: fx.GraphModule) -> list[type]:
    layers = graph.get_submodule("layers").children()
    return [type(layer) for layer in layers if isinstance(layer, nn.Linear | nn.Conv2d)]


def assert_same(network: nn.Module, *, training: bool = False) -> fx.GraphModule:
    """In outputs, names, memory of the weights, mode and cost."""
    network.train(training)
    graph = canonical(network)
    x = torch.randn(3, 3, 12, 10)
    torch.testing.assert_close(
        copy.deepcopy(graph)(x), copy.deepcopy(network)(x), rtol=1e-5, atol=1e-5
    )
    assert list(graph.state_dict()) == list(network.state_dict())
    parameters = dict(network.named_parameters())
    for name, parameter in graph.named_parameters():
        assert parameter.data_ptr() == parameters[name].data_ptr()
        assert parameter.requires_grad == parameters[name].requires_grad
    assert all(module.training is training for module in graph.modules())
    assert count(graph, 1, 3, 12, 10) == count(network, 1, 3, 12, 10)
    return graph


def mlp() -> list[nn.Module]:
    return [nn.LayerNorm(8), nn.Linear(8, 24), nn.GELU(), nn.Linear(24, 8, bias=False)]


@pytest.mark.parametrize("training", [True, False])
def test_linear_layers_between_permutations_are_convolutions(training: bool) -> None:
    network = Positions(*mlp())
    network.layers[1].requires_grad_(False)
    graph = assert_same(network, training=training)
    assert kinds(graph) == [nn.Conv2d, nn.Conv2d]
    assert isinstance(graph.get_submodule("head"), nn.Linear)
    permutations = [node for node in graph.graph.nodes if "permute" in str(node.target)]
    assert len(permutations) == 2


SPELLINGS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "one by one": (lambda x: x.permute(0, 2, 3, 1), lambda x: x.permute(0, 3, 1, 2)),
    "at once": (lambda x: x.permute((0, 2, 3, 1)), lambda x: x.permute([0, 3, 1, 2])),
    "by name": (lambda x: x.permute(dims=(0, 2, 3, 1)), lambda x: x.permute(dims=(0, 3, 1, 2))),
    "from the end": (lambda x: x.permute(0, -2, -1, 1), lambda x: x.permute(0, -1, 1, 2)),
    "as a function": (
        lambda x: torch.permute(x, (0, 2, 3, 1)),
        lambda x: torch.permute(x, dims=(0, 3, 1, 2)),
    ),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_permutation_may_be_spelled_in_any_way(spelling: str) -> None:
    there, back = SPELLINGS[spelling]

    class Spelled(Positions):
        def around(self, x: Tensor) -> Tensor:
            x = there(x)
            for layer in self.layers:
                x = layer(x)
            return back(x)

    assert kinds(assert_same(Spelled(*mlp()))) == [nn.Conv2d, nn.Conv2d]


class Scale(nn.Module):
    """With the channels last, as the authors of ConvNeXt have it."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.linspace(0, 1, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma * x


def normalized_over_the_map(x: Tensor, *layers: nn.Module) -> Tensor:
    """As in ConvNeXt V2, whose second linear layer takes what no rule follows."""
    norm, one, act, other = layers
    hidden = act(one(norm(x)))
    size = hidden.norm(dim=(1, 2), keepdim=True)
    return other(hidden + hidden * (size / size.mean(-1, keepdim=True)))


def twice(x: Tensor, *layers: nn.Module) -> Tensor:
    return layers[0](layers[0](x))


def on_vectors_too(x: Tensor, *layers: nn.Module) -> Tensor:
    return layers[0](x) + layers[0](x.mean((1, 2)))[:, None, None]


def used_before_and_after(x: Tensor, *layers: nn.Module) -> Tensor:
    hidden = layers[0](x)
    return hidden * hidden.softmax(-1) + F.layer_norm(F.silu(hidden), (8,))


def other_way_round(x: Tensor, *layers: nn.Module) -> Tensor:
    """What comes last is the width: 8 pixels."""
    return layers[0](x.permute(0, 1, 3, 2)).permute(0, 1, 3, 2)


@pytest.mark.parametrize(
    ("work", "layers", "expected"),
    [
        (None, [*mlp(), Scale()], [nn.Conv2d, nn.Conv2d]),
        (normalized_over_the_map, mlp(), [nn.Conv2d, nn.Linear]),
        (twice, [nn.Linear(8, 8)], [nn.Linear]),
        (on_vectors_too, [nn.Linear(8, 8)], [nn.Linear]),
        (used_before_and_after, [nn.Linear(8, 8)], [nn.Conv2d]),
        (other_way_round, [nn.Linear(8, 8)], [nn.Linear]),
    ],
)
def test_what_is_around_stays_right(
    work: Callable[..., Tensor] | None, layers: list[nn.Module], expected: list[type]
) -> None:
    assert kinds(assert_same(Positions(*layers, work=work))) == expected


@pytest.mark.parametrize(
    "layer", [nn.BatchNorm2d(10), nn.Dropout2d(0.0), nn.PReLU(10), nn.LayerNorm([8, 8])], ids=repr
)
def test_a_layer_that_takes_the_second_dimension_for_channels_still_does(layer: nn.Module) -> None:
    """Maps are of 10 x 8 positions."""
    graph = assert_same(Positions(nn.Linear(8, 8), layer, nn.Linear(8, 8)), training=True)
    assert kinds(graph)[0] is nn.Conv2d


def test_a_convnext_is_the_same_and_has_blocks_with_inner_widths(
    small_convnext: Architecture,
) -> None:
    network = small_convnext.build(10).eval()
    graph = canonical(network)
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(graph(images), network(images), rtol=1e-5, atol=1e-5)
    assert list(graph.state_dict()) == list(network.state_dict())
    before, after = (flops_by_operator(each, 1, 3, 64, 64) for each in (network, graph))
    assert sum(before.values()) == sum(after.values())
    assert before["layer_norm"] == after["layer_norm"]
    assert after["linear"] == 32 * 10  # the head's
    blocks = [block for block in find_blocks(graph, "block") if len(block.convs) > 1]
    assert [width.size for block in blocks for width in inner_widths(graph, block)] == [
        64,
        128,
        128,
    ]


def test_stochastic_depth_acts_in_training_alone(small_convnext: Architecture) -> None:
    graph = canonical(small_convnext.build(10))
    drops = [module for module in graph.modules() if isinstance(module, StochasticDepth)]
    assert [drop.p for drop in drops] == pytest.approx([0.0, 0.05, 0.1])
    images = torch.randn(8, 3, 32, 32)
    graph.eval()
    assert torch.equal(graph(images), graph(images))
    for drop in drops:
        drop.p = 0.5
    graph.train()
    assert not torch.allclose(graph(images), graph(images))
