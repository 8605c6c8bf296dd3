"""Optimizers: how training turns gradients into steps, by name."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from pareconv.search.muon import Muon
from pareconv.search.spec import Optimizer

_MOMENTUM = 0.9


@dataclass(frozen=True)
class Decay:
    """The weight decay of every parameter, and of those that have another."""

    usual: float
    others: Mapping[nn.Parameter, float] = field(default_factory=dict)

    def of(self, parameter: nn.Parameter) -> float:
        return self.others.get(parameter, self.usual)


def conv_muon(weights: Sequence[nn.Parameter], *, lr: float, decay: Decay) -> Muon:
    """Muon for the weights of convolutions. `lr` is the share of its length by which a filter of
    average length is moved in a step; filters of zeros are moved as if their length were 1.
    """
    groups = [
        {
            "params": [weight],
            "lr": lr * (_filter_length(weight.detach()) or 1.0),
            "weight_decay": decay.of(weight),
        }
        for weight in weights
    ]
    return Muon(groups, momentum=_MOMENTUM)


def _filter_length(weight: Tensor) -> float:
    """The root of the mean square of the filters' lengths."""
    return float(weight.square().flatten(1).sum(1).mean().sqrt())


def _muon(network: nn.Module, lr: float, decay: Decay) -> list[torch.optim.Optimizer]:
    """Muon for convolutions that sum over channels, SGD of the same learning rate for the rest."""
    convs = (module for module in network.modules() if isinstance(module, nn.Conv2d))
    chosen = {id(conv.weight) for conv in convs if conv.weight.shape[1] > 1}
    mixing = [each for each in network.parameters() if id(each) in chosen]
    rest = [each for each in network.parameters() if id(each) not in chosen]
    built: list[torch.optim.Optimizer] = []
    if mixing:
        built.append(conv_muon(mixing, lr=lr, decay=decay))
    if rest:
        built.append(_nesterov(rest, lr, decay))
    return built


def _sgd(network: nn.Module, lr: float, decay: Decay) -> list[torch.optim.Optimizer]:
    return [_nesterov(list(network.parameters()), lr, decay)]


def _nesterov(parameters: Sequence[nn.Parameter], lr: float, decay: Decay) -> torch.optim.SGD:
    alike: dict[float, list[nn.Parameter]] = defaultdict(list)
    for parameter in parameters:
        alike[decay.of(parameter)].append(parameter)
    groups = [{"params": found, "weight_decay": value} for value, found in alike.items()]
    return torch.optim.SGD(groups, lr, _MOMENTUM, nesterov=True)


class Builder(Protocol):
    """Makes what trains the parameters of a network between them."""

    def __call__(
        self, network: nn.Module, lr: float, decay: Decay
    ) -> list[torch.optim.Optimizer]: ...


OPTIMIZERS: dict[Optimizer, Builder] = {"muon": _muon, "sgd": _sgd}
