"""Optimizers: what a step does to the weights of a network."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from pareconv.models.convolutions.adder import Adder
from pareconv.search.optimizers import OPTIMIZERS, Decay, conv_muon
from pareconv.search.precision import channels_last


@pytest.fixture
def network():
    """Convolutions that sum over channels and one that does not, of a student's usual shapes."""
    torch.manual_seed(0)
    return channels_last(
        nn.Sequential(
            nn.Conv2d(3, 8, (3, 1), padding=(1, 0), bias=False),
            nn.BatchNorm2d(8),
            nn.Conv2d(8, 8, 3, padding=1, groups=8),
            nn.Conv2d(8, 16, 3, padding=1, groups=2, bias=False),
            nn.ReLU(),
            nn.Conv2d(16, 8, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 4),
        )
    )


def lesson():
    torch.manual_seed(1)
    return torch.randn(16, 3, 8, 8), torch.randint(4, (16,))


def step(network, built, *, times=1.0):
    images, labels = lesson()
    network.zero_grad()
    loss = functional.cross_entropy(network(images), labels)
    (times * loss).backward()
    for optimizer in built:
        optimizer.step()
    return loss.item()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_parameter_learns(name, network):
    before = copy.deepcopy(dict(network.named_parameters()))
    built = OPTIMIZERS[name](network, 0.01, Decay(5e-4))
    first = step(network, built)
    moved = {name: not torch.equal(now, before[name]) for name, now in network.named_parameters()}
    assert all(moved.values()), moved
    for _ in range(30):
        last = step(network, built)
    assert last < first


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_parameter_without_a_gradient_stays(name, network):
    network[0].weight.requires_grad_(False)
    before = network[0].weight.clone()
    step(network, OPTIMIZERS[name](network, 0.01, Decay(5e-4)))
    assert torch.equal(network[0].weight, before)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_network_without_such_convolutions_learns(name):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    before = network[1].weight.clone()
    step(network, OPTIMIZERS[name](network, 0.01, Decay(0.0)))
    assert not torch.equal(network[1].weight, before)


@pytest.mark.parametrize("layer", [0, 3, 5])
@pytest.mark.parametrize("lr", [0.01, 0.05])
def test_a_filter_is_moved_by_that_share_of_its_length(layer, lr, network):
    weight = network[layer].weight
    before = weight.detach().clone()
    step(network, OPTIMIZERS["muon"](network, lr, Decay(0.0)))
    share = ((weight - before).norm() / before.norm()).item()
    # The iteration makes singular values of 0.7 to 1.2 of all but the least, which may stay behind.
    found = torch.linalg.svdvals(weight.grad.flatten(1))
    moved = (found > 0.01 * found.norm()).sum().item() / len(found)
    assert 0.65 * moved**0.5 * lr < share < 1.3 * lr


def test_orthogonal_steps_do_not_depend_on_the_scale_of_the_loss(network):
    other = copy.deepcopy(network)
    step(network, OPTIMIZERS["muon"](network, 0.01, Decay(0.0)))
    step(other, OPTIMIZERS["muon"](other, 0.01, Decay(0.0)), times=1024.0)
    for layer in (0, 3, 5):
        torch.testing.assert_close(network[layer].weight, other[layer].weight)


def test_filters_of_zeros_learn(network):
    nn.init.zeros_(network[5].weight)
    step(network, OPTIMIZERS["muon"](network, 0.01, Decay(0.0)))
    assert network[5].weight.detach().norm() > 0


@pytest.mark.parametrize("shape", [(8, 4, 3, 3), (64, 8, 1, 1)], ids=["wide", "tall"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_muon_steps_as_that_of_torch_does(shape, layout):
    """Theirs iterates in bfloat16, and takes matrices alone."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(shape).to(memory_format=layout))
    matrix = nn.Parameter(weight.detach().flatten(1).clone())
    ours = conv_muon([weight], lr=0.1, decay=Decay(0.1))
    lr = ours.param_groups[0]["lr"]
    theirs = torch.optim.Muon([matrix], lr=lr, weight_decay=0.1, momentum=0.9)
    for _ in range(4):
        weight.grad = torch.randn(shape).to(memory_format=layout)
        matrix.grad = weight.grad.flatten(1)
        before = matrix.detach().clone()
        ours.step()
        theirs.step()
        off = (weight.detach().flatten(1) - matrix.detach()).norm()
        assert off < 0.05 * (matrix.detach() - before).norm()
        with torch.no_grad():
            weight.copy_(matrix.detach().view(shape))


def test_muon_leaves_an_adder_to_sgd():
    """Its weights are no matrix, and its gradient comes with a length of its own."""
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), Adder(nn.Conv2d(8, 8, 3)))
    network = channels_last(network)
    muon, sgd = OPTIMIZERS["muon"](network, 0.1, Decay(0.0))
    sizes = [each.numel() for group in muon.param_groups for each in group["params"]]
    assert sizes == [network[0].weight.numel()]
    assert any(each is network[2].weight for each in sgd.param_groups[0]["params"])


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("layer", [0, 2])
def test_a_parameter_with_a_decay_of_its_own_keeps_more_of_itself(name, layer, network):
    """Of two networks with the same gradients, one of which lets a layer off its weight decay."""
    let_off = copy.deepcopy(network)
    weight = let_off[layer].weight
    step(network, OPTIMIZERS[name](network, 0.1, Decay(0.5)))
    step(let_off, OPTIMIZERS[name](let_off, 0.1, Decay(0.5, {weight: 0.0})))
    pairs = zip(network.parameters(), let_off.parameters(), strict=True)
    assert [torch.equal(*pair) for pair in pairs] == [
        each is not weight for each in let_off.parameters()
    ]
    assert weight.norm() > network[layer].weight.norm()
