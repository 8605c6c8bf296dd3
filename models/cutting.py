"""Cutting: parts of a canonical graph as networks of their own, which share its modules."""

from collections.abc import Sequence

from torch import fx

from pareconv.models.blocks import Block


def cut(network: fx.GraphModule, inputs: Sequence[str], outputs: Sequence[str]) -> fx.GraphModule:
    """The part of `network` that computes the values of the nodes `outputs`, as a tuple in that
    order, from those of the nodes `inputs`, its positional arguments.

    Modules are those of `network`, not copies. Raises ValueError where an output needs more than
    the inputs.
    """
    graph = fx.Graph()
    old = {node.name: node for node in network.graph.nodes}
    new = {old[name]: graph.placeholder(name) for name in inputs}
    for node in _needed([old[name] for name in outputs], set(new)):
        if node.op == "placeholder":
            raise ValueError(f"{', '.join(outputs)} need {node.name}, which is not an input")
        new[node] = graph.node_copy(node, lambda source: new[source])
    graph.output(tuple(new[old[name]] for name in outputs))
    part = fx.GraphModule(network, graph)
    part.training = network.training
    return part


def cut_block(network: fx.GraphModule, block: Block) -> fx.GraphModule:
    """The block alone: its input in, `(output,)` out."""
    return cut(network, [block.input], [block.output])


def cut_tail(network: fx.GraphModule, block: Block) -> tuple[list[str], fx.GraphModule]:
    """All that follows the block: the names of its inputs, the block's output first and then what
    passes by the block, and the network from these to `(result,)`.
    """
    output = next(node for node in network.graph.nodes if node.name == block.output)
    after = _users(output)
    passing = {
        source.name: None
        for node in network.graph.nodes
        if node in after
        for source in node.all_input_nodes
        if source not in after and source is not output and source.op != "get_attr"
    }
    inputs = [block.output, *passing]
    return inputs, cut(network, inputs, [result(network)])


def entry(network: fx.GraphModule) -> str:
    """The name of the node that the image batch comes in by."""
    return next(str(node.name) for node in network.graph.nodes if node.op == "placeholder")


def result(network: fx.GraphModule) -> str:
    """The name of the node whose value the network returns."""
    sink = next(node for node in network.graph.nodes if node.op == "output")
    (node,) = sink.all_input_nodes
    return str(node.name)


def _needed(outputs: Sequence[fx.Node], given: set[fx.Node]) -> list[fx.Node]:
    """The nodes between, in the order of the graph."""
    found: set[fx.Node] = set()
    waiting = [node for node in outputs if node not in given]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [source for source in node.all_input_nodes if source not in given]
    return [node for node in outputs[0].graph.nodes if node in found] if outputs else []


def _users(node: fx.Node) -> set[fx.Node]:
    found: set[fx.Node] = set()
    waiting = [user for user in node.users if user.op != "output"]
    while waiting:
        user = waiting.pop()
        if user not in found:
            found.add(user)
            waiting += [following for following in user.users if following.op != "output"]
    return found
