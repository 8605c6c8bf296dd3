"""Optimizers: how training turns gradients into steps, by name."""

from collections.abc import Callable
from typing import get_args

import torch
from torch import Tensor, nn

from pareconv.search.spec import Optimizer

_MOMENTUM = 0.9


def optimizers(
    name: Optimizer, network: nn.Module, *, lr: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """What trains the parameters of `network` between them; ValueError for an unknown name.

    `network` is laid out channels last, and stays so: `muon` writes into the memory of its weights.
    """
    if name not in BUILDERS:
        raise ValueError(f"unknown optimizer {name!r}; known: {', '.join(get_args(Optimizer))}")
    return BUILDERS[name](network, lr, weight_decay)


class ConvMuon(torch.optim.Muon):
    """Muon for the weights of convolutions [O, I, h, w], each taken as a matrix [O, h * w * I].

    A step is the nearest orthogonal matrix to the momentum: all directions of a layer learn equally
    fast, and all layers, however different their gradients are (Jordan et al. 2024,
    kellerjordan.github.io/posts/muon). `lr` is the share of its length by which a filter of average
    length is moved in a step; filters of zeros are moved as if their length were 1.
    """

    def __init__(self, weights: list[nn.Parameter], *, lr: float, weight_decay: float) -> None:
        self._weights = weights
        groups = [
            # Orthogonal rows have length 1 where there are no more of them than columns; torch
            # stretches them to that where there are.
            {"params": [matrix], "lr": lr * (_row_length(matrix.detach()) or 1.0)}
            for matrix in map(_shared_matrix, weights)
        ]
        super().__init__(groups, weight_decay=weight_decay, momentum=_MOMENTUM)

    def step(self, closure: None = None) -> None:  # type: ignore[override]  # none is needed
        for group, weight in zip(self.param_groups, self._weights, strict=True):
            (matrix,) = group["params"]
            matrix.grad = None if weight.grad is None else _as_matrix(weight.grad)
        super().step(closure)  # type: ignore[no-untyped-call]


def _shared_matrix(weight: nn.Parameter) -> nn.Parameter:
    """The weight as a matrix in the same memory; RuntimeError where it is not channels last."""
    return nn.Parameter(weight.detach().permute(0, 2, 3, 1).view(len(weight), -1))


def _row_length(matrix: Tensor) -> float:
    """The root of the mean square of the rows' lengths."""
    return float(matrix.square().sum(1).mean().sqrt())


def _as_matrix(gradient: Tensor) -> Tensor:
    return gradient.permute(0, 2, 3, 1).flatten(1)


def _muon(network: nn.Module, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Muon for convolutions that sum over channels, SGD of the same learning rate for the rest."""
    parameters = list(network.parameters())
    mixing = [each for each in parameters if each.ndim == 4 and each.shape[1] > 1]
    chosen = {id(each) for each in mixing}
    rest = [each for each in parameters if id(each) not in chosen]
    built: list[torch.optim.Optimizer] = []
    if mixing:
        built.append(ConvMuon(mixing, lr=lr, weight_decay=weight_decay))
    if rest:
        built.append(_nesterov(rest, lr, weight_decay))
    return built


def _sgd(network: nn.Module, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    return [_nesterov(list(network.parameters()), lr, weight_decay)]


def _nesterov(parameters: list[nn.Parameter], lr: float, decay: float) -> torch.optim.SGD:
    return torch.optim.SGD(parameters, lr, _MOMENTUM, weight_decay=decay, nesterov=True)


Builder = Callable[[nn.Module, float, float], list[torch.optim.Optimizer]]

BUILDERS: dict[str, Builder] = {"muon": _muon, "sgd": _sgd}
