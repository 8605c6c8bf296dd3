"""What a network costs: fvcore's count for one image, and parameters. The only file that knows
fvcore.

Convention: a multiply-add is 1; batch norm and adaptive pooling count as fvcore counts them;
element-wise operations and copies count nothing.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.flop_counter import FlopCounterMode

from pareconv.models.cost_table import Cost

with warnings.catch_warnings():
    # fvcore scripts a loss of its own at import, which torch deprecates; nothing of ours does.
    warnings.simplefilter("ignore")
    from fvcore.nn import FlopCountAnalysis


@runtime_checkable
class Adding(Protocol):
    """A module that adds where others multiply, which fvcore does not count."""

    def additions(self, output: Tensor) -> int:
        """How many it took to compute `output` for one image."""


def count(module: nn.Module, *shape: int) -> Cost:
    """Cost of `module` in eval mode on one input of `shape` (1, C, H, W).

    `flops` is `FlopCountAnalysis(module, x).total()`; every parameter counts once, however often
    used.
    """
    return Cost(
        flops=sum(flops_by_operator(module, *shape).values()),
        params=sum(parameter.numel() for parameter in module.parameters()),
        adds=_additions(module, *shape),
    )


def _additions(module: nn.Module, *shape: int) -> int:
    found: list[int] = []
    adders = [part for part in module.modules() if isinstance(part, Adding)]
    if not adders:
        return 0
    hooks = [
        adder.register_forward_hook(lambda part, _, out: found.append(part.additions(out)))
        for adder in adders
    ]
    try:
        with _evaluating(module), torch.no_grad():
            module(_zeros(module, shape))
    finally:
        for hook in hooks:
            hook.remove()
    return sum(found)


def flops_by_operator(module: nn.Module, *shape: int) -> dict[str, int]:
    """FLOPs of `module` for one input of `shape`, split by operator (`conv`, `batch_norm`,
    `linear`, ...).
    """
    x = _zeros(module, shape)
    with (
        # A counter of what is spent, say, would hide the operators from the tracer: all cost 0.
        _disable_current_modes(),
        _evaluating(module),
        torch.no_grad(),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # the tracer warns of every Python branch on a shape
        analysis = FlopCountAnalysis(module, x)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        return {operator: int(flops) for operator, flops in analysis.by_operator().items()}


def _zeros(module: nn.Module, shape: tuple[int, ...]) -> Tensor:
    parameter = next(module.parameters(), torch.empty(0))
    return torch.zeros(shape, device=parameter.device, dtype=parameter.dtype)


def multiply_adds(counter: FlopCounterMode) -> int:
    """What torch's counter has seen, by the convention here: it takes a multiply-add for two."""
    return counter.get_total_flops() // 2


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    modes = {child: child.training for child in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for child, mode in modes.items():
            child.training = mode
