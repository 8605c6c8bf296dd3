"""Optimizers: how training turns gradients into steps, by name."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pareconv.search.spec import Optimizer

_MOMENTUM = 0.9


def conv_muon(
    weights: Sequence[nn.Parameter], *, lr: float, weight_decay: float
) -> torch.optim.Muon:
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
        # Orthogonal rows have length 1 where there are no more of them than columns; torch
        # stretches them to that where there are.
        {"params": [matrix], "lr": lr * (_row_length(matrix.detach()) or 1.0)}
        for matrix in matrices
    ]
    muon = torch.optim.Muon(groups, weight_decay=weight_decay, momentum=_MOMENTUM)
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


def _muon(network: nn.Module, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Muon for convolutions that sum over channels, SGD of the same learning rate for the rest."""
    convs = (module for module in network.modules() if isinstance(module, nn.Conv2d))
    chosen = {id(conv.weight) for conv in convs if conv.weight.shape[1] > 1}
    mixing = [each for each in network.parameters() if id(each) in chosen]
    rest = [each for each in network.parameters() if id(each) not in chosen]
    built: list[torch.optim.Optimizer] = []
    if mixing:
        built.append(conv_muon(mixing, lr=lr, weight_decay=weight_decay))
    if rest:
        built.append(_nesterov(rest, lr, weight_decay))
    return built


def _sgd(network: nn.Module, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    return [_nesterov(list(network.parameters()), lr, weight_decay)]


def _nesterov(parameters: list[nn.Parameter], lr: float, decay: float) -> torch.optim.SGD:
    return torch.optim.SGD(parameters, lr, _MOMENTUM, weight_decay=decay, nesterov=True)


Builder = Callable[[nn.Module, float, float], list[torch.optim.Optimizer]]

# (network, learning rate, weight decay) -> what trains its parameters between them. The network is
# laid out channels last, and stays so.
OPTIMIZERS: dict[Optimizer, Builder] = {"muon": _muon, "sgd": _sgd}
