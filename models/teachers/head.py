"""The head: the last layer of a classifier, which has one output for each class."""

from typing import Any

from torch import fx, nn

from pareconv.models.errors import TraceError


def head(network: fx.GraphModule) -> tuple[str, nn.Linear | nn.Conv2d]:
    """Its name and the layer; raises TraceError where the scores come from something else."""
    output = network.graph.output_node()
    node: Any = output.all_input_nodes[0]
    while node.all_input_nodes:
        module = network.get_submodule(str(node.target)) if node.op == "call_module" else None
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
    fresh: nn.Module
    if isinstance(layer, nn.Linear):
        fresh = nn.Linear(layer.in_features, num_classes, bias=bias)
    else:
        if layer.groups != 1:
            raise TraceError(f"the head {name!r} is a grouped convolution, which is not renewed")
        fresh = nn.Conv2d(layer.in_channels, num_classes, layer.kernel_size, bias=bias)  # type: ignore[arg-type]  # two numbers
    network.set_submodule(name, fresh)
