"""FastNAS of NVIDIA Model Optimizer 0.47, as `modelopt.torch.prune` offers it.

It measures how much accuracy each width of each layer alone costs, then gives every layer the
narrowest width whose loss stays below one threshold, as low a threshold as the FLOPs allow. The
channels of a layer are ordered by magnitude. Of a ResNet with option A shortcuts it narrows the
inner channels of the blocks alone.

The ResNet-20 teacher, with 1,000 images for batch norms and 500 to score on (the benchmark takes
400 and 250, to leave more for the distillation), validation accuracy in % on 2,000 images of which
those are part, one seed; distilled with 20,000 images at 0.01:

| FLOPs asked | reached | widths are multiples of | forwards | recalibrated | distilled |
|-------------|---------|-------------------------|----------|--------------|-----------|
| 50 %        | 47.5 %  | 4                       | 111,260  | 66.2         | 86.5      |
| 30 %        | 29.6 %  | 4                       | 109,740  | 33.3         | 79.2      |
| 15 %        | 14.6 %  | 2                       | 221,671  | 12.3         | 62.2      |
"""

import copy
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import modelopt.torch.nas as mtn
import modelopt.torch.prune as mtp
import torch
from modelopt.torch.opt.conversion import ModeloptStateManager
from modelopt.torch.prune.pruning import PruneModeRegistry
from torch import Tensor, nn

from benchmarks.peers.pruned import Pruned
from pareconv.models.cost import count

Score = Callable[[nn.Module], float]
Loader = Collection[tuple[Tensor, Tensor]]

_IMAGE = (1, 3, 32, 32)
_DIVISORS = (4, 2, 1)
# FastNAS renews batch norms on its first 50 batches, and silently not at all if it got fewer.
_LEAST_BATCHES = 50


def prune(teacher: nn.Module, flops: int, loader: Loader, score: Score) -> Pruned:
    """What FastNAS makes of `teacher`, a plain network or a GraphModule, within `flops`.

    `flops` are fvcore's, for an image of 32 x 32. Widths are multiples of 4; of 2, then of 1,
    where a limit cannot be met so. `loader` gives (images, labels) on which batch norms are renewed
    before every evaluation, at least 50 batches; `score` the accuracy of a network, 0..1.
    Raises ValueError for too few batches and for a limit that no width meets.
    """
    if len(loader) < _LEAST_BATCHES:
        raise ValueError(
            f"{len(loader)} batches: FastNAS renews batch norms on {_LEAST_BATCHES} and not at all "
            "on fewer; give more batches, smaller ones if need be"
        )
    meter = _Meter(teacher)
    for divisor in _DIVISORS:
        if _narrowest(teacher, divisor) > flops:
            continue
        with tempfile.TemporaryDirectory() as folder:
            search = _Search(teacher, divisor, score, Path(folder) / "sensitivity.pth", meter)
            network = _largest(search, flops, loader)
        if network is not None:
            return Pruned(network, meter.forward_images)
    raise ValueError(f"FastNAS finds no widths within {flops:,} FLOPs; allow more")


def _fresh(teacher: nn.Module) -> nn.Module:
    """A copy to be pruned in place; FastNAS knows no other memory format."""
    network = copy.deepcopy(teacher).requires_grad_(True)
    return network.to(memory_format=torch.contiguous_format)


def _narrowest(teacher: nn.Module, divisor: int) -> int:
    """The FLOPs of the narrowest network of the search space."""
    network = mtn.convert(_fresh(teacher), _mode(divisor), registry=PruneModeRegistry)
    mtn.sample(network, min)
    return count(mtn.export(network), *_IMAGE).flops


def _mode(divisor: int) -> list[tuple[str, dict[str, Any]]]:
    return [
        (
            "fastnas",
            {
                "nn.Conv2d": {"*": {"channel_divisor": divisor}},
                "nn.BatchNorm2d": {"*": {"feature_divisor": divisor}},
            },
        )
    ]


class _Meter:
    """Counts the multiply-adds of convolutions and linear layers in teacher forwards."""

    def __init__(self, teacher: nn.Module) -> None:
        self._spent = 0
        self._unit = 1
        network = copy.deepcopy(teacher).eval()
        with self.counting(network), torch.no_grad():
            network(_image(network))
        self._unit, self._spent = self._spent, 0

    @property
    def forward_images(self) -> float:
        return self._spent / self._unit

    @contextmanager
    def counting(self, network: nn.Module) -> Iterator[None]:
        """Count whatever runs through `network`, which may be rebuilt meanwhile."""
        hooks = [
            module.register_forward_hook(self._count)
            for module in network.modules()
            if isinstance(module, nn.Conv2d | nn.Linear)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _count(self, layer: nn.Conv2d | nn.Linear, _: object, output: Tensor) -> None:
        if not torch.jit.is_tracing():  # FastNAS counts FLOPs on traces, which are to stay clean
            self._spent += output.numel() * layer.weight[0].numel()


@dataclass(frozen=True, eq=False)
class _Search:
    """FastNAS on copies of one teacher. What the first run measures, the next ones read."""

    teacher: nn.Module
    divisor: int
    score: Score
    measured: Path
    meter: _Meter

    def run(self, limit: float, loader: Loader | None) -> tuple[nn.Module, float] | None:
        """The network found and its FLOPs; None where it is over `limit`. Both in FastNAS's
        count: 2 for a multiply-add, nothing for batch norm.
        """
        network = _fresh(self.teacher)
        config = {
            "data_loader": loader,
            # Batch norms are renewed on entering eval mode.
            "score_func": lambda network: self.score(network.eval()),
            "checkpoint": self.measured,
            "verbose": False,
        }
        # It warns where nothing is measured yet, and where batch norms are not renewed, though it
        # evaluates nothing then.
        with self.meter.counting(network), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, found = mtp.prune(
                network,
                _mode(self.divisor),
                {"flops": limit},
                dummy_input=_image(network),
                config=config,
            )
        ModeloptStateManager.remove_state(network)
        best = found["best"]
        return (network, best["constraints"]["flops"]) if best["is_satisfied"] else None


def _largest(search: _Search, flops: int, loader: Loader) -> nn.Module | None:
    """The largest network of `search` that fvcore counts within `flops`; None if it finds none."""
    found = search.run(2.0 * flops, loader)
    while found is not None:
        network, counted = found
        if count(network, *_IMAGE).flops <= flops:
            return network
        found = search.run(counted - 1, None)
    return None


def _image(network: nn.Module) -> Tensor:
    return torch.zeros(_IMAGE, device=next(network.parameters()).device)
