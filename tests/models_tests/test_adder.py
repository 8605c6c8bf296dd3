"""AdderNet's layer: its function, its own gradients, its start, what it costs and takes."""

import resource
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from pareconv.models.blocks import find_blocks
from pareconv.models.convolutions.adder import Adder
from pareconv.models.cost import count
from pareconv.models.graph import canonical
from pareconv.models.plan import Option, Plan
from pareconv.models.rewriting import refusals, rewrite
from pareconv.models.space import Scope, find_space
from pareconv.models.teachers.architectures import architecture

GEOMETRIES: dict[str, dict[str, Any]] = {
    "plain": {"kernel_size": 3, "padding": 1},
    "strided": {"kernel_size": 3, "padding": 1, "stride": 2},
    "oblong": {"kernel_size": (3, 5), "padding": (0, 2), "stride": (1, 2)},
    "dilated": {"kernel_size": 3, "padding": 2, "dilation": 2},
    "pointwise": {"kernel_size": 1, "stride": 2},
}


def layer(geometry: str) -> tuple[nn.Conv2d, Adder]:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, bias=False, **GEOMETRIES[geometry]).double()
    return conv, Adder(conv).double()


def differences(conv: nn.Conv2d, adder: Adder, x: Tensor) -> Tensor:
    """x - w of every output channel, window place and position: [N, Co, K, L]."""
    seen = F.unfold(x, conv.kernel_size, conv.dilation, conv.padding, conv.stride)
    return seen[:, None] - adder.weight.detach().flatten(1)[:, :, None]


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_function_and_gradients_are_those_of_the_paper(geometry: str) -> None:
    """Y = -sum |X - F|; dY/dF = X - F, scaled to eta * sqrt(k) in all; dY/dX = HT(F - X)."""
    conv, adder = layer(geometry)
    x = torch.randn(4, 3, 9, 8, dtype=torch.float64, requires_grad=True)
    y = adder(x)
    given = torch.randn_like(y)
    y.backward(given)
    apart = differences(conv, adder, x.detach())
    torch.testing.assert_close(y.flatten(2), -apart.abs().sum(2))
    of_weight = torch.einsum("nokl,nol->ok", apart, given.flatten(2))
    of_weight *= 0.2 * of_weight.numel() ** 0.5 / of_weight.norm()
    assert adder.weight.grad is not None
    torch.testing.assert_close(adder.weight.grad.flatten(1), of_weight)
    of_seen = torch.einsum("nokl,nol->nkl", (-apart).clamp(-1, 1), given.flatten(2))
    of_x = F.fold(of_seen, (9, 8), conv.kernel_size, conv.dilation, conv.padding, conv.stride)
    assert x.grad is not None
    torch.testing.assert_close(x.grad, of_x)


def test_the_weight_gradient_has_one_length_whatever_the_loss_is_scaled_by() -> None:
    _, adder = layer("plain")
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    for scale in (1e-6, 1.0, 1e6):
        adder.weight.grad = None
        (scale * adder(x).square().mean()).backward()
        assert adder.weight.grad is not None
        assert adder.weight.grad.norm().item() == pytest.approx(0.2 * 135**0.5)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_export_computes_the_same(geometry: str) -> None:
    _, adder = layer(geometry)
    x = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    program = torch.export.export(adder.eval(), (x,))
    torch.testing.assert_close(program.module()(x), adder(x))


def test_memory_at_the_widest_layer_of_a_resnet20() -> None:
    """A tensor of filters x window x positions alone would take 1.2 GB there, and there were
    several.
    """
    adder = Adder(nn.Conv2d(16, 16, 3, padding=1, bias=False))
    x = torch.rand(128, 16, 32, 32, requires_grad=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    adder(x).sum().backward()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) / 1024 < 300  # MB


def test_additions_are_counted_beside_flops() -> None:
    conv = nn.Conv2d(4, 6, 3, padding=1, bias=False)
    cost = count(Adder(conv), 1, 4, 8, 8)
    assert (cost.flops, cost.adds, cost.params) == (0, 2 * 4 * 6 * 9 * 64, 216)
    assert cost.quantity("flops") == 2 * count(conv, 1, 4, 8, 8).flops


@pytest.fixture(scope="module")
def network() -> fx.GraphModule:
    torch.manual_seed(0)
    return canonical(architecture("cifar_resnet8").build(10)).eval()


def test_a_space_has_it_only_where_it_is_named(network: fx.GraphModule) -> None:
    table = find_space(network, (1, 3, 32, 32), Scope(["adder", "svd"])).table
    plan = Plan({block: Option.of("adder") for block in table.changes})
    cost = table.cost(plan)
    assert count(rewrite(network, plan), 1, 3, 32, 32) == cost
    convolutions = table.teacher.flops - cost.flops
    assert cost.adds == 2 * convolutions
    assert cost.params == table.teacher.params


def test_a_convolution_without_batch_norm_is_refused() -> None:
    bare = canonical(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)))
    (block,) = find_blocks(bare, "conv")
    assert refusals(bare, block, Option.of("adder")) == {"0": "no batch norm follows it"}


def unlikeness(adder: Adder, conv: nn.Conv2d, x: Tensor) -> float:
    """Squared distance of what a batch norm would make of both; 2 where they are unrelated."""
    with torch.no_grad():
        one, other = (F.batch_norm(y, None, None, training=True) for y in (adder(x), conv(x)))
    return float((one - other).square().mean())


def test_it_starts_like_the_convolution(activations: Tensor) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 24, 3, padding=1, bias=False)
    seen, unseen = activations[:48, :16], activations[48:, :16]
    random = unlikeness(Adder(conv), conv, unseen)
    from_weights = unlikeness(Adder.from_conv(conv), conv, unseen)
    from_both = unlikeness(Adder.from_conv(conv, seen), conv, unseen)
    assert max(from_both, from_weights) < 0.5 * random
