"""Layout: maps that have their channels last, and the linear layers on them, which are 1x1
convolutions.
"""

from collections import Counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from pareconv.models.blocks import is_per_channel

_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)

# They take the second dimension for the channels, whatever it is.
_SECOND_DIMENSION = (nn.BatchNorm2d, nn.Dropout2d, nn.PReLU)


def linear_to_conv(network: fx.GraphModule) -> None:
    """Make of every `nn.Linear` on a map [N, H, W, C] the convolution on [N, C, H, W] that it is.

    A map is known to be one where `permute(0, 2, 3, 1)` makes it, or linear layers, activations and
    layer norms make it of such. The permutations move: that which ends a block of ConvNeXt goes to
    behind its layer norm. Names stay, weights [O, I] become [O, I, 1, 1] of the same memory. What
    the network computes and costs stays the same.
    """
    calls = Counter(str(node.target) for node in network.graph.nodes if node.op == "call_module")
    first: dict[fx.Node, fx.Node] = {}  # of a map, the one with its channels first
    for node in list(network.graph.nodes):
        source, order = _source(node), _order(node)
        if order == _TO_LAST and source is not None:
            first[node] = source
        elif source is None or source not in first:
            continue
        elif order == _TO_FIRST:
            node.replace_all_uses_with(first[source])
        elif _is_layer_norm(network, node):
            first[node] = _permuted(node, _TO_FIRST)
        elif _takes_any_layout(network, node):
            first[_moved(node, source, first[source])] = node
        elif (linear := _linear(network, node)) is not None and calls[str(node.target)] == 1:
            network.set_submodule(str(node.target), _as_conv(linear))
            first[_moved(node, source, first[source])] = node
    network.graph.eliminate_dead_code()
    network.recompile()


def _source(node: fx.Node) -> fx.Node | None:
    """The one value that goes into `node`, parameters aside; None where it is not one."""
    sources = [source for source in node.all_input_nodes if source.op != "get_attr"]
    return sources[0] if len(sources) == 1 else None


def _order(node: fx.Node) -> tuple[int, ...] | None:
    """Of the dimensions, where `node` permutes the four of a map."""
    if (node.op, node.target) not in {("call_method", "permute"), ("call_function", torch.permute)}:
        return None
    dims: Any = node.kwargs.get("dims", node.args[1:])
    if isinstance(dims, tuple) and len(dims) == 1:  # all in one argument
        (dims,) = dims
    is_known = isinstance(dims, list | tuple) and all(isinstance(dim, int) for dim in dims)
    return tuple(dim % len(_TO_LAST) for dim in dims) if is_known else None


def _permuted(node: fx.Node, order: tuple[int, ...]) -> fx.Node:
    with node.graph.inserting_after(node):
        return node.graph.call_function(torch.permute, (node, order))


def _moved(node: fx.Node, source: fx.Node, first: fx.Node) -> fx.Node:
    """Let `node` take `first` in place of `source`, the same map with its channels last. Its users
    get the map that is answered, channels last.
    """
    node.replace_input_with(source, first)
    last = _permuted(node, _TO_LAST)
    node.replace_all_uses_with(last, lambda user: user is not last)
    return last


def _is_layer_norm(network: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(network.get_submodule(str(node.target)), nn.LayerNorm)
    return node.target is F.layer_norm


def _takes_any_layout(network: fx.GraphModule, node: fx.Node) -> bool:
    if not is_per_channel(network, node):
        return False
    return node.op != "call_module" or not isinstance(
        network.get_submodule(str(node.target)), _SECOND_DIMENSION
    )


def _linear(network: fx.GraphModule, node: fx.Node) -> nn.Linear | None:
    """The linear layer that `node` calls."""
    if node.op != "call_module":
        return None
    module = network.get_submodule(str(node.target))
    return module if type(module) is nn.Linear else None


def _as_conv(linear: nn.Linear) -> nn.Conv2d:
    conv = nn.Conv2d(
        linear.in_features, linear.out_features, 1, bias=linear.bias is not None, device="meta"
    )
    weight = linear.weight.detach()[:, :, None, None]
    conv.weight = nn.Parameter(weight, linear.weight.requires_grad)
    conv.bias = linear.bias
    return conv.train(linear.training)
