"""Drop: a residual block becomes its shortcut."""

import operator

import torch
from torch import Tensor, fx, nn

from pareconv.models.blocks import Block
from pareconv.models.convolutions.operator import Rebuilt
from pareconv.models.convolutions.whole_block import BlockOperator
from pareconv.models.plan import HyperValue

_ADDITIONS = {operator.add, operator.iadd, torch.add, "add", "add_"}


class Drop(BlockOperator):
    """out = act(x + f(x)) -> out = act(x): nothing of f is left.

    Only where the shortcut is the identity. Networks with such shortcuts lose little when one block
    goes (Veit et al. 2016, arXiv 1605.06431). There is nothing to start or to train.
    """

    name = "drop"
    summary = "the block's shortcut alone: costs nothing"
    formula = "act(x + f(x)) -> act(x)"
    cost = "params 0; multiply-adds 0"
    source = "Veit et al. 2016, arXiv 1605.06431"
    when = "Deep residual networks and tight budgets: the cheapest option there is."

    @classmethod
    def _refusal(cls, network: fx.GraphModule, block: Block, **hyper: HyperValue) -> str | None:
        if _join(network, block) is None:
            return "no residual block whose shortcut is the identity"
        return None

    @classmethod
    def rebuild(
        cls,
        network: fx.GraphModule,
        block: Block,
        inputs: Tensor | None,
        **hyper: HyperValue,
    ) -> Rebuilt:
        join = _join(network, block)
        assert join is not None  # refused
        return Rebuilt(bypassed={join: block.input})


def _join(network: fx.GraphModule, block: Block) -> str | None:
    """The node where the block's input is added to what the block makes of it."""
    nodes = {node.name: node for node in network.graph.nodes}
    node = nodes[block.output]
    while len(node.all_input_nodes) == 1 and node.name != block.input:  # activations after it
        node = node.all_input_nodes[0]
    is_addition = node.op in ("call_function", "call_method") and node.target in _ADDITIONS
    if not is_addition or node.kwargs or len(node.all_input_nodes) != 2:
        return None
    sources = {_seen_through(network, source).name for source in node.all_input_nodes}
    return str(node.name) if block.input in sources else None


def _seen_through(network: fx.GraphModule, node: fx.Node) -> fx.Node:
    """The node whose value comes through modules that do nothing."""
    while node.op == "call_module" and isinstance(
        network.get_submodule(str(node.target)), nn.Identity
    ):
        node = node.all_input_nodes[0]
    return node
