"""Widths: channels that live inside a block alone, and every module that would notice if there were
fewer of them.
"""

import math
import operator
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import torch
from networkx.utils import UnionFind
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pareconv.models.blocks import Block, is_per_channel
from pareconv.models.cutting import cut_block

_POOLS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.AvgPool2d, nn.MaxPool2d)
_ELEMENTWISE: set[Callable[..., Any] | str] = {
    operator.add, operator.iadd, operator.mul, operator.imul, torch.add, torch.mul,
    "add", "add_", "mul", "mul_",
}  # fmt: skip


@dataclass(frozen=True)
class Width:
    """`size` channels of the block's own, in groups of `unit` that stay or go together.

    `writers` are the convolutions whose outputs they are, `readers` those that they go into,
    `carriers` the modules between with something of each channel: batch norms, grouped
    convolutions. All by name, in the order of the data flow.
    """

    size: int
    unit: int
    writers: tuple[str, ...]
    carriers: tuple[str, ...]
    readers: tuple[str, ...]


def inner_widths(network: fx.GraphModule, block: Block) -> list[Width]:
    """Those of `block`, in the order in which their first writers run.

    A width that meets the block's input or output, an operation that mixes or rearranges channels,
    or a module that is used elsewhere too is none of the block's own.
    """
    part = cut_block(network, block)
    tied, ends = _tie(part, _shared(network))
    found: dict[fx.Node, _Members] = {}
    for node in part.graph.nodes:
        module = _module(part, node)
        if _is_dense(module):
            found.setdefault(tied[node], _Members()).writers.append(node)
            read = tied[node.all_input_nodes[0]]
            found.setdefault(read, _Members()).readers.append(node)
        elif isinstance(module, nn.Conv2d | _BatchNorm | nn.PReLU):
            found.setdefault(tied[node], _Members()).carriers.append(node)
    outer = {tied[node] for node in ends}
    return [
        width
        for root, members in found.items()
        if root not in outer and (width := members.width(part)) is not None
    ]


@dataclass
class _Members:
    writers: list[fx.Node] = field(default_factory=list)
    carriers: list[fx.Node] = field(default_factory=list)
    readers: list[fx.Node] = field(default_factory=list)

    def width(self, part: fx.GraphModule) -> Width | None:
        """None where its members are not of one size, as where one channel is spread over all."""
        grouped = [module for node in self.carriers if _is_grouped(module := _module(part, node))]
        sizes = {_module(part, node).out_channels for node in self.writers}
        sizes |= {_module(part, node).in_channels for node in self.readers}
        sizes |= {module.in_channels for module in grouped}
        if len(sizes) != 1 or not self.writers or not self.readers:
            return None
        names = (
            [str(n.target) for n in nodes] for nodes in (self.writers, self.carriers, self.readers)
        )
        unit = math.lcm(*(module.in_channels // module.groups for module in grouped))
        return Width(sizes.pop(), unit, *(tuple(each) for each in names))


def _tie(
    part: fx.GraphModule, shared: Collection[str]
) -> tuple["UnionFind[fx.Node]", list[fx.Node]]:
    """Which values have the same channels, and those values whose channels others see too."""
    tied: UnionFind[fx.Node] = UnionFind(part.graph.nodes)
    ends: list[fx.Node] = []
    for node in part.graph.nodes:
        sources = node.all_input_nodes
        module = _module(part, node)
        if node.op == "call_module" and node.target in shared:
            ends += [node, *sources]
        elif _is_dense(module):
            pass  # what comes out has channels of its own
        elif _keeps_channels(part, node, module):
            tied.union(node, *sources)
        else:
            ends += [node, *sources]
    return tied, ends


def _shared(network: fx.GraphModule) -> set[str]:
    """Modules with something of their own that are used in more than one place."""
    calls = Counter(str(node.target) for node in network.graph.nodes if node.op == "call_module")
    return {
        name
        for name, uses in calls.items()
        if uses > 1 and network.get_submodule(name).state_dict()
    }


def _keeps_channels(part: fx.GraphModule, node: fx.Node, module: Any) -> bool:
    """Whether channel c of what comes out is made of the channels c, or of the group of c."""
    if node.op not in ("call_module", "call_function", "call_method"):
        return False
    if _is_grouped(module):
        return bool(module.in_channels == module.out_channels)
    if node.target in _ELEMENTWISE:
        return all(source.op != "get_attr" for source in node.all_input_nodes)
    return isinstance(module, _POOLS) or is_per_channel(part, node)


def _module(part: fx.GraphModule, node: fx.Node) -> Any:
    return part.get_submodule(str(node.target)) if node.op == "call_module" else None


def _is_dense(module: object) -> bool:
    return isinstance(module, nn.Conv2d) and module.groups == 1


def _is_grouped(module: object) -> bool:
    return isinstance(module, nn.Conv2d) and module.groups > 1
