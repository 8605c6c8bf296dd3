"""Optimizers: how training turns gradients into steps, by name."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from pareconv.search.spec import Optimizer

_MOMENTUM = 0.9


@dataclass(frozen=True)
class Decay:
    """The weight decay of every parameter, and of those that have another."""

    usual: float
    others: Mapping[nn.Parameter, float] = field(default_factory=dict)

    def of(self, parameter: nn.Parameter) -> float:
        return self.others.get(parameter, self.usual)


def conv_muon(weights: Sequence[nn.Parameter], *, lr: float, decay: Decay) -> torch.optim.Muon:
    """Muon for the weights of convolutions [O, I, h, w], each taken as a matrix [O, h * w * I].

    A step is the nearest orthogonal matrix to the momentum: all directions of a layer learn equally
    fast, and all layers, however different their gradients are (Jordan et al. 2024,
    kellerjordan.github.io/posts/muon). `lr` is the share of its length by which a filter of average
    length is moved in a step; filters of zeros are moved as if their length were 1.

    Weights are changed in their own memory; RuntimeError for one that is not channels last.
    """
    matrices = [_shared_matrix(weight) for weight in weights]

    def hand_over(*_: object) -> None:
        for weight, matrix in zip(weights, matrices, strict=True):
            matrix.grad = None if weight.grad is None else _as_matrix(weight.grad)

    groups = [
        {
            "params": [matrix],
            # Orthogonal rows have length 1 where there are no more of them than columns; torch
            # stretches them to that where there are.
            "lr": lr * (_row_length(matrix.detach()) or 1.0),
            "weight_decay": decay.of(weight),
        }
        for weight, matrix in zip(weights, matrices, strict=True)
    ]
    muon = torch.optim.Muon(groups, momentum=_MOMENTUM)
    muon.register_step_pre_hook(hand_over)
    return muon


def _shared_matrix(weight: nn.Parameter) -> nn.Parameter:
    """The weight as a matrix in the same memory."""
    return nn.Parameter(weight.detach().permute(0, 2, 3, 1).view(len(weight), -1))


def _row_length(matrix: Tensor) -> float:
    """The root of the mean square of the rows' lengths."""
    return float(matrix.square().sum(1).mean().sqrt())


def _as_matrix(gradient: Tensor) -> Tensor:
    return gradient.permute(0, 2, 3, 1).flatten(1)


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
    """Makes what trains the parameters of a network between them. It is laid out channels last, and
    stays so.
    """

    def __call__(
        self, network: nn.Module, lr: float, decay: Decay
    ) -> list[torch.optim.Optimizer]: ...


OPTIMIZERS: dict[Optimizer, Builder] = {"muon": _muon, "sgd": _sgd}
