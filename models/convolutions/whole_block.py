"""The contract of an operator that rebuilds a block as a whole: it must see more than one layer."""

import copy
import operator
from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor, fx

from pareconv.models.blocks import Block
from pareconv.models.convolutions.operator import Operator, Rebuilt, Shapes, Step
from pareconv.models.cost import count
from pareconv.models.cost_table import Cost
from pareconv.models.cutting import cut_block
from pareconv.models.plan import HyperValue


class BlockOperator(Operator):
    """A subclass says in `_refusal` what it cannot rebuild, and in `rebuild` what it makes."""

    @classmethod
    def refusal(cls, network: fx.GraphModule, block: Block, **hyper: HyperValue) -> str | None:
        """Why `block` of `network` stays as it is; None if it can be rebuilt."""
        entry = next(node for node in network.graph.nodes if node.name == block.input)
        if any(_takes_out(user) for user in entry.users):
            return "what goes into it is several tensors"
        return cls._refuse_hyper(hyper) or cls._refusal(network, block, **hyper)

    @classmethod
    @abstractmethod
    def _refusal(cls, network: fx.GraphModule, block: Block, **hyper: HyperValue) -> str | None:
        """What of the block's graph this operator cannot change."""

    @classmethod
    @abstractmethod
    def rebuild(
        cls,
        network: fx.GraphModule,
        block: Block,
        inputs: Tensor | None,
        **hyper: HyperValue,
    ) -> Rebuilt:
        """What becomes of `block`; `network` is not touched.

        `inputs` [N, C, H, W] is a sample of what the block sees: with it, layers are fitted to what
        the block gives.
        """

    @classmethod
    def refusals(cls, network: fx.GraphModule, block: Block, **hyper: HyperValue) -> dict[str, str]:
        reason = cls.refusal(network, block, **hyper)
        return {} if reason is None else dict.fromkeys(block.convs, reason)

    @classmethod
    def steps(cls, network: fx.GraphModule, block: Block, **hyper: HyperValue) -> Sequence[Step]:
        return [Step(block.input, lambda inputs: cls.rebuild(network, block, inputs, **hyper))]

    @classmethod
    def change(
        cls, network: fx.GraphModule, block: Block, shapes: Shapes, **hyper: HyperValue
    ) -> Cost:
        before = cut_block(network, block)
        after = copy.deepcopy(before)
        cls.rebuild(network, block, None, **hyper).apply(after)
        shape = 1, *shapes[block.input][1:]
        return count(after, *shape) - count(before, *shape)


def _takes_out(node: fx.Node) -> bool:
    """Whether the node picks one of several values; a slice is a part of one."""
    return node.target is operator.getitem and isinstance(node.args[1], int)
