"""The head: the last layer of a classifier, which has one output for each class."""

from typing import Any

from torch import fx, nn

from pareconv.models.convolutions.geometry import spatial_like
from pareconv.models.errors import TraceError
from pareconv.models.graph import called


def head(network: fx.GraphModule) -> tuple[str, nn.Linear | nn.Conv2d]:
    """Its name and the layer; raises TraceError where the scores come from something else."""
    output = network.graph.output_node()
    node: Any = output.all_input_nodes[0]
    while node.all_input_nodes:
        module = called(network, node)
        if isinstance(module, nn.Linear | nn.Conv2d):
            return str(node.target), module
        node = node.all_input_nodes[0]
    raise TraceError("the network has no last linear layer or convolution that gives its scores")


def classes_of(network: fx.GraphModule) -> int:
    """How many scores the network gives for an image."""
    _, layer = head(network)
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def renew_head(network: fx.GraphModule, num_classes: int) -> None:
    """Put a fresh head for so many classes into the place of the one that is there."""
    name, layer = head(network)
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        network.set_submodule(name, nn.Linear(layer.in_features, num_classes, bias=bias))
    elif layer.groups == 1:
        fresh = spatial_like(layer, layer.in_channels, num_classes, bias=bias)
        network.set_submodule(name, fresh)
    else:
        raise TraceError(f"the head {name!r} is a grouped convolution, which is not renewed")
