"""Biases as exporters write them, put back: those beside their layers into them, and none where
there was none.
"""

import operator
from collections import Counter

from torch import fx, nn

from pareconv.models.graph import called


def merge_biases(network: fx.GraphModule) -> fx.GraphModule:
    """The same network; what adds a vector to a linear layer without a bias becomes its bias."""
    calls = Counter(str(node.target) for node in network.graph.nodes if node.op == "call_module")
    for node in list(network.graph.nodes):
        if node.target is not operator.add:
            continue
        for product, vector in (node.args, node.args[::-1]):
            if _is_bias(network, product, vector) and calls[str(product.target)] == 1:
                network.get_submodule(product.target).bias = getattr(network, vector.target)
                node.replace_all_uses_with(product)
                network.graph.erase_node(node)
                break
    network.graph.eliminate_dead_code()
    network.delete_all_unused_submodules()
    network.recompile()
    return network


def drop_zero_biases(network: fx.GraphModule) -> fx.GraphModule:
    """The same network; a convolution before a batch norm has no bias where all of it is 0."""
    for node in network.graph.nodes:
        conv = called(network, node)
        if not isinstance(conv, nn.Conv2d) or conv.bias is None or conv.bias.any():
            continue
        if any(isinstance(called(network, user), nn.BatchNorm2d) for user in node.users):
            conv.bias = None
    return network


def _is_bias(network: fx.GraphModule, product: object, vector: object) -> bool:
    if not isinstance(product, fx.Node) or not isinstance(vector, fx.Node):
        return False
    if vector.op != "get_attr" or len(product.users) != 1:
        return False
    layer = called(network, product)
    value = getattr(network, str(vector.target))
    return (
        isinstance(layer, nn.Linear) and layer.bias is None and value.shape == (layer.out_features,)
    )
