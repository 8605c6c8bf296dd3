"""Blocks: the units of choice, found from the data flow of the graph alone, never from class names.

A stretch is a part of the graph that takes one value in and gives one value out. Where the flow
branches at a node and meets again at a join, everything between is a stretch (a residual block, an
Inception module); outside of those, each dense convolution with the batch norm and activation after
it is one (a plain net, the layers of a dense block).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import networkx as nx
import torch
import torch.nn.functional as F
from torch import fx, nn
from torchvision.ops import StochasticDepth

Granularity = Literal["block", "conv"]

# A stretch with more convolutions is too coarse for one choice and is taken apart: the largest
# Inception module has 10, the smallest dense block of DenseNet 12.
_MOST_CONVS = 10

_PER_CHANNEL_MODULES = (
    nn.BatchNorm2d,
    nn.Dropout,
    nn.Dropout2d,
    nn.Identity,
    StochasticDepth,
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Sigmoid,
    nn.Tanh,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.Hardtanh,
)
_PER_CHANNEL_FUNCTIONS = {
    F.relu, F.relu6, F.leaky_relu, F.elu, F.gelu, F.silu, F.mish, F.hardswish, F.hardsigmoid,
    F.hardtanh, torch.relu, torch.sigmoid, torch.tanh, "relu", "relu_", "sigmoid", "tanh",
}  # fmt: skip

_CONVOLUTIONS = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Block:
    """A single-input, single-output stretch and the dense convolutions in it.

    `input` and `output` are names of graph nodes: the value that goes in (not part of the block)
    and the one that comes out (part of it). `reads` are those whose values go into each of the
    convolutions.
    """

    name: str
    convs: tuple[str, ...]
    reads: tuple[str, ...]
    input: str
    output: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A convolution that no block holds, or a block that no option fits, and why."""

    name: str
    reason: str


def find_blocks(network: fx.GraphModule, granularity: Granularity) -> list[Block]:
    """The blocks of a canonical graph in the order of the data flow; no two share a convolution."""
    dense = _dense_convs(network)
    if granularity == "conv":
        return [_unit(node, node) for node in dense]
    flow = _flow(network.graph)
    blocks = list(_branching(network, flow, dense))
    covered = {conv for block in blocks for conv in block.convs}
    blocks += [
        _unit(node, _absorb(network, node)) for node in dense if str(node.target) not in covered
    ]
    order = {str(node.target): position for position, node in enumerate(dense)}
    return sorted(_distinct(blocks), key=lambda block: order[block.convs[0]])


def find_left_out(network: fx.GraphModule) -> list[LeftOut]:
    """The convolutions that can be in no block, each with the reason."""
    calls = _calls(network.graph)
    left_out = []
    for name, module in network.named_modules():
        if isinstance(module, _CONVOLUTIONS) and calls[name]:
            reason = _reason(module, calls[name])
            left_out += [LeftOut(name, reason)] if reason else []
    return left_out


def _reason(conv: nn.Module, calls: int) -> str | None:
    if not isinstance(conv, nn.Conv2d):
        return f"{type(conv).__name__}: only Conv2d is replaced"
    if conv.groups != 1:
        return f"grouped (groups={conv.groups}): only dense convolutions are replaced"
    if calls > 1:
        return f"shared: used {calls} times in the graph"
    return None


def _calls(graph: fx.Graph) -> Counter[str]:
    return Counter(str(node.target) for node in graph.nodes if node.op == "call_module")


def _dense_convs(network: fx.GraphModule) -> list[fx.Node]:
    calls = _calls(network.graph)
    return [
        node
        for node in network.graph.nodes
        if node.op == "call_module"
        and isinstance(conv := network.get_submodule(str(node.target)), nn.Conv2d)
        and _reason(conv, calls[str(node.target)]) is None
    ]


def _flow(graph: fx.Graph) -> "nx.DiGraph[fx.Node]":
    """Which node's value goes into which; parameters and constants do not flow."""
    flow: nx.DiGraph[fx.Node] = nx.DiGraph()
    for node in graph.nodes:
        if node.op != "get_attr":
            flow.add_node(node)
            sources = (source for source in node.all_input_nodes if source.op != "get_attr")
            flow.add_edges_from((source, node) for source in sources)
    return flow


def _branching(
    network: fx.GraphModule, flow: "nx.DiGraph[fx.Node]", dense: list[fx.Node]
) -> Iterator[Block]:
    """The outermost stretches between a branch and its join that hold few enough convolutions."""
    taken: set[fx.Node] = set()
    for stretch, start, join in sorted(_stretches(flow), key=lambda found: -len(found[0])):
        convs = [node for node in dense if node in stretch]
        if 1 <= len(convs) <= _MOST_CONVS and not taken & stretch:
            taken |= stretch
            names = tuple(str(conv.target) for conv in convs)
            end = _absorb(network, join)
            yield Block(_common_name(stretch, names), names, _reads(convs), start.name, end.name)


def _stretches(
    flow: "nx.DiGraph[fx.Node]",
) -> Iterator[tuple[set[fx.Node], fx.Node, fx.Node]]:
    """(nodes, branch, join) where every path from the branch passes the join, and the other way
    round.
    """
    source = next(node for node in flow if node.op == "placeholder" and flow.out_degree(node))
    sink = next(node for node in flow if node.op == "output")
    before = nx.immediate_dominators(flow, source)
    after = nx.immediate_dominators(flow.reverse(copy=False), sink)
    for join in flow:
        branch = before.get(join)
        if flow.in_degree(join) > 1 and branch is not None and after.get(branch) is join:
            inner = nx.descendants(flow, branch) & nx.ancestors(flow, join)
            yield inner | {join}, branch, join


def _absorb(network: fx.GraphModule, node: fx.Node) -> fx.Node:
    """The last of the batch norms, activations and the like that follow `node` and nothing else
    does.
    """
    while len(node.users) == 1:
        follower = next(iter(node.users))
        if not is_per_channel(network, follower):
            break
        node = follower
    return node


def is_per_channel(network: fx.GraphModule, node: fx.Node) -> bool:
    """Whether `node` is a batch norm, an activation or the like: channels do not meet in it."""
    if node.op == "call_module":
        return isinstance(network.get_submodule(str(node.target)), _PER_CHANNEL_MODULES)
    return node.target in _PER_CHANNEL_FUNCTIONS


def _unit(conv: fx.Node, end: fx.Node) -> Block:
    name = str(conv.target)
    reads = _reads([conv])
    return Block(name, (name,), reads, reads[0], end.name)


def _reads(convs: Sequence[fx.Node]) -> tuple[str, ...]:
    return tuple(str(conv.all_input_nodes[0].name) for conv in convs)


def _common_name(stretch: set[fx.Node], convs: tuple[str, ...]) -> str:
    paths = [str(node.target).split(".") for node in stretch if node.op == "call_module"]
    common = [parts[0] for parts in zip(*paths, strict=False) if len(set(parts)) == 1]
    return ".".join(common) or _span(convs)


def _span(convs: tuple[str, ...]) -> str:
    return f"{convs[0]}..{convs[-1]}"


def _distinct(blocks: list[Block]) -> list[Block]:
    """The same blocks; where two would share a name, each is named by its first and last
    convolution.
    """
    names = Counter(block.name for block in blocks)
    return [
        block if names[block.name] == 1 else replace(block, name=_span(block.convs))
        for block in blocks
    ]
