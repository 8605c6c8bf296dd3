"""Torch-Pruning 1.6.1: group magnitudes (DepGraph, arXiv 2301.12900), ranked over all layers."""

import copy
import math

import torch
import torch.nn.functional as F
import torch_pruning as tp
from torch import Tensor, nn
from torch_pruning.pruner.function import BasePruningFunc

from benchmarks.peers.pruned import Pruned
from pareconv.models.cost import count
from pareconv.models.teachers.cifar_resnet import SubsamplingShortcut

# Steps from the whole network to nothing, as in the authors' CIFAR experiments: about one channel
# each, after which importances are taken anew.
_STEPS = 400
# Every layer keeps this share of the width that it would keep if all were narrowed alike.
_LEAST_SHARE = 0.75
_STREAM_BELOW = 0.2


def prune(
    teacher: nn.Module, batch: tuple[Tensor, Tensor], flops: int, *, stream: bool | None = None
) -> Pruned:
    """The largest CIFAR ResNet within `flops`, as fvcore counts them, on the way down.

    `batch` only shows what an image looks like: the criterion needs no gradient, and nothing is
    spent. Without `stream` the inner channels of the blocks alone are pruned and `teacher` may be a
    GraphModule; with it the residual stream too, which needs the plain network and its shortcut
    modules. None prunes the stream below a fifth of the teacher's FLOPs. Raises ValueError for a
    limit that is not reached.
    """
    example = batch[0][:1]
    share = flops / count(teacher, *example.shape).flops
    if stream is None:
        stream = share < _STREAM_BELOW
    network = copy.deepcopy(teacher).eval().requires_grad_(True)
    if stream:
        _open_shortcuts(network)
    # FLOPs fall with the width of the inner channels, and with its square if all are narrowed.
    width = math.sqrt(share) if stream else share
    pruner = tp.BasePruner(
        network,
        example,
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        global_pruning=True,
        pruning_ratio=1.0,
        max_pruning_ratio=1 - _LEAST_SHARE * width,
        iterative_steps=_STEPS,
        ignored_layers=[network.linear] if stream else _ends_of_stream(network),
        customized_pruners={_Route: _RoutePruner()},
    )
    for _ in range(_STEPS):
        if count(network, *example.shape).flops <= flops:
            return Pruned(network, 0.0)
        pruner.step()
    raise ValueError(f"{flops:,} FLOPs are not reached; allow more")


def _ends_of_stream(network: nn.Module) -> list[nn.Module]:
    """The layers that write into the residual stream, and the last one."""
    writers = [module for name, module in network.named_modules() if name.endswith(".conv2")]
    return [network.conv1, *writers, network.linear]


class _Route(nn.Module):
    """An option A shortcut whose channels can be pruned: where each one comes from.

    `sources` [out channels] holds the channel read, or `in_channels` for zeros. Torch-Pruning
    takes the padding of channels for an element-wise operation: channel i of the narrow stream for
    channel i of the wide one, and the network that it leaves does not run.
    """

    def __init__(self, sources: Tensor, in_channels: int, stride: int) -> None:
        super().__init__()
        self.register_buffer("sources", sources)
        self.in_channels = in_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        with_zeros = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, 1))
        return with_zeros.index_select(1, self.sources)


class _RoutePruner(BasePruningFunc):
    """What pruning a channel before or behind a route does to it; neither entails the other."""

    TARGET_MODULES = _Route

    def prune_out_channels(self, layer: _Route, idxs: list[int]) -> _Route:
        kept = torch.ones(len(layer.sources), dtype=torch.bool)
        kept[idxs] = False
        layer.sources = layer.sources[kept.to(layer.sources.device)]
        return layer

    def prune_in_channels(self, layer: _Route, idxs: list[int]) -> _Route:
        kept = torch.ones(layer.in_channels + 1, dtype=torch.bool)
        kept[idxs] = False
        zeros = int(kept.sum()) - 1
        moved = torch.where(kept, kept.cumsum(0) - 1, zeros).to(layer.sources.device)
        layer.sources = moved[layer.sources]
        layer.in_channels = zeros
        return layer

    def get_out_channels(self, layer: _Route) -> int:
        return len(layer.sources)

    def get_in_channels(self, layer: _Route) -> int:
        return layer.in_channels


def _open_shortcuts(network: nn.Module) -> None:
    blocks = [
        module
        for module in network.modules()
        if isinstance(getattr(module, "shortcut", None), SubsamplingShortcut)
    ]
    if not blocks:
        raise ValueError(
            "the network has no option A shortcut as a module; give the plain CIFAR ResNet, not "
            "its graph, or stream=False"
        )
    for block in blocks:
        in_channels, shortcut = block.conv1.in_channels, block.shortcut
        sources = F.pad(
            torch.arange(in_channels), (shortcut.before, shortcut.after), value=in_channels
        )
        route = _Route(sources, in_channels, shortcut.stride)
        block.shortcut = route.to(block.conv1.weight.device)
