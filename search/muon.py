"""Muon: steps that are orthogonal matrices (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

That of torch iterates in bfloat16, which processors without instructions for it compute about eight
times slower than float32, and takes matrices alone.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from pareconv.search.precision import has_bfloat16

_COEFFICIENTS = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """For weights [O, ...], each taken as a matrix of a row for each output.

    A step is the nearest orthogonal matrix to the momentum, with rows of length 1: all directions
    of a layer learn equally fast, and all layers, however different their gradients are.
    """

    def __init__(self, params: Iterable[dict[str, Any]], *, momentum: float) -> None:
        super().__init__(params, {"momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # it evaluates nothing
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._step(weight, weight.grad, group)

    def _step(self, weight: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state, lr, momentum = self.state[weight], group["lr"], group["momentum"]
        if "average" not in state:
            state["average"] = torch.zeros_like(grad)
        average = state["average"].lerp_(grad, 1 - momentum)
        matrix = grad.lerp(average, momentum).flatten(1)  # as Nesterov looks ahead
        rows, columns = matrix.shape
        length = math.sqrt(max(1.0, rows / columns))  # where there are too many rows for length 1
        weight.mul_(1 - lr * group["weight_decay"])
        weight.add_(orthogonal(matrix).view(weight.shape), alpha=-lr * length)


def orthogonal(matrix: Tensor) -> Tensor:
    """Near the orthogonal matrix that is nearest to `matrix` [M, N], whose singular values are 1:
    those of the result are 0.7 to 1.2, by five steps of a Newton-Schulz iteration.
    """
    precision = torch.bfloat16 if has_bfloat16(matrix.device.type) else torch.float32
    found = matrix.to(precision)
    is_tall = len(matrix) > matrix.shape[1]
    found = found.T if is_tall else found
    found = found / found.norm().clamp(min=1e-7)
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram = found @ found.T
        found = torch.addmm(found, torch.addmm(gram, gram, gram, beta=b, alpha=c), found, beta=a)
    return (found.T if is_tall else found).to(matrix.dtype)
