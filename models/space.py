"""The search space of a teacher: its blocks, the options of each, what everything costs, what was
left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, fx, nn

from pareconv.models.blocks import Block, Granularity, LeftOut, find_blocks, find_left_out
from pareconv.models.convolutions.operator import Shapes
from pareconv.models.convolutions.registry import SAVING, operator, options
from pareconv.models.cost import count
from pareconv.models.cost_table import Cost, CostTable, Quantity
from pareconv.models.cutting import cut
from pareconv.models.plan import KEEP, Option, Plan
from pareconv.models.rewriting import choices, known_blocks, refusals

# Options of a block are alike whose costs differ by at most so much of its greatest saving.
_ALIKE, _MOST_ALIKE = 0.05, 3

_VECTORS = 2  # dimensions of a batch of them


@dataclass(frozen=True)
class Scope:
    """Which part of the space is asked for. Patterns are shell patterns on block names.

    Without `operators` it is `auto`: all that save FLOPs and parameters, and of each block the
    options spread over the range of cost, a few of about the same one.
    """

    operators: Sequence[str] | None = None
    granularity: Granularity = "block"
    include: Sequence[str] | None = None
    exclude: Sequence[str] | None = None

    def refusal(self, block: str) -> str | None:
        if self.include is not None and not any(fnmatchcase(block, p) for p in self.include):
            return f"not included by {', '.join(self.include)}"
        if self.exclude is not None and any(fnmatchcase(block, p) for p in self.exclude):
            return f"excluded by {', '.join(self.exclude)}"
        return None


@dataclass(frozen=True)
class Space:
    """Blocks with at least one option, the exact cost of every choice, and what was left out."""

    blocks: list[Block]
    left_out: list[LeftOut]
    table: CostTable


def find_space(network: fx.GraphModule, shape: tuple[int, int, int, int], scope: Scope) -> Space:
    """The space of a canonical `network` for inputs of `shape` (1, C, H, W).

    Costs are additive: what an option changes is the count of what it makes less that of what was
    there.
    """
    shapes = _shapes(network, shape)
    every = options(SAVING if scope.operators is None else scope.operators)
    left_out = _left_out(network, shapes)
    blocks: list[Block] = []
    changes: dict[str, dict[Option, Cost]] = {}
    for block in find_blocks(network, scope.granularity):
        reason = scope.refusal(block.name)
        fitting = {} if reason else _changes(network, block, every, shapes)
        if scope.operators is None:
            fitting = _spread(fitting)
        if fitting:
            blocks.append(block)
            changes[block.name] = {KEEP: Cost(), **fitting}
        else:
            left_out.append(LeftOut(block.name, reason or _why_none(network, block, every)))
    return Space(blocks, left_out, CostTable(count(network, *shape), changes))


def planned_space(network: fx.GraphModule, shape: tuple[int, int, int, int], plan: Plan) -> Space:
    """The space of one plan: its blocks, each as it is or as the plan rebuilds it. Raises PlanError
    where it does not fit the network.
    """
    shapes = _shapes(network, shape)
    chosen = choices(network, plan)
    changes = {
        block.name: {
            KEEP: Cost(),
            option: operator(option.operator).change(network, block, shapes, **option.kwargs),
        }
        for block, option in chosen
    }
    blocks = [block for block, _ in chosen]
    return Space(blocks, _left_out(network, shapes), CostTable(count(network, *shape), changes))


def _left_out(network: fx.GraphModule, shapes: Shapes) -> list[LeftOut]:
    """What no block can hold: some convolutions, and linear layers on more than vectors."""
    linear = [
        str(node.target)
        for node in network.graph.nodes
        if node.op == "call_module"
        and isinstance(network.get_submodule(str(node.target)), nn.Linear)
        and len(shapes[node.name]) > _VECTORS
    ]
    reason = "Linear: is a 1x1 convolution only on maps that were seen to be [N, H, W, C]"
    return find_left_out(network) + [LeftOut(name, reason) for name in dict.fromkeys(linear)]


def block_costs(
    network: fx.GraphModule, shape: tuple[int, int, int, int], names: Iterable[str]
) -> dict[str, Cost]:
    """What the blocks of these names cost as they are in `network`, for one image."""
    shapes, known = _shapes(network, shape), known_blocks(network)
    nodes = {node.name: node for node in network.graph.nodes}
    costs = {}
    for name in names:
        source = nodes[known[name].input]
        while source.name not in shapes:  # the parts of a tensor, say, as ShuffleNet splits it
            source = source.all_input_nodes[0]
        part = cut(network, [source.name], [known[name].output])
        costs[name] = count(part, *shapes[source.name])
    return costs


def _changes(
    network: fx.GraphModule, block: Block, every: Sequence[Option], shapes: Shapes
) -> dict[Option, Cost]:
    changes: dict[Option, Cost] = {}
    built: set[tuple[str, Cost]] = set()
    for option in every:
        refused = refusals(network, block, option)
        accepted = [conv for conv in block.convs if conv not in refused]
        if accepted:
            found = operator(option.operator)
            change = found.change(network, block, shapes, **option.kwargs)
            # One operator at one cost is one network: two ratios may round to the same rank. And
            # where the input is hardly larger than the kernel an option may save nothing.
            is_cheaper = change.quantity("flops") < 0 and change.params < 0
            is_wanted = is_cheaper or not found.saves
            if is_wanted and (option.operator, change) not in built:
                built.add((option.operator, change))
                changes[option] = change
    return changes


def _spread(changes: dict[Option, Cost]) -> dict[Option, Cost]:
    """The cheapest, and those that are not crowded by options before them of about their cost."""
    if not changes:
        return {}
    quantities: tuple[Quantity, ...] = "flops", "params"
    cheapest = {
        name: min(changes, key=lambda option, name=name: changes[option].quantity(name))  # type: ignore[misc]
        for name in quantities
    }
    near = {name: -_ALIKE * changes[cheapest[name]].quantity(name) for name in quantities}
    kept = set(cheapest.values())
    for option, change in changes.items():
        apart = (change - changes[other] for other in kept)
        alike = sum(
            all(abs(each.quantity(name)) <= near[name] for name in quantities) for each in apart
        )
        if alike < _MOST_ALIKE:
            kept.add(option)
    return {option: change for option, change in changes.items() if option in kept}


def _why_none(network: fx.GraphModule, block: Block, every: Sequence[Option]) -> str:
    """One line: the first refusal of every option, alike ones once."""
    reasons = (
        next(iter(refusals(network, block, option).values()), "not cheaper at this size")
        for option in every
    )
    by_operator = {option.operator: reason for option, reason in zip(every, reasons, strict=True)}
    listed = "; ".join(f"{name}: {reason}" for name, reason in by_operator.items())
    return f"no operator fits ({listed})"


def _shapes(network: fx.GraphModule, shape: tuple[int, int, int, int]) -> Shapes:
    """The shape of every node's value in eval mode."""
    parameter = next(network.parameters())
    recorder = _Recorder(network)
    training = network.training
    try:
        with torch.no_grad():
            network.eval()
            recorder.run(torch.zeros(shape, device=parameter.device, dtype=parameter.dtype))
    finally:
        network.train(training)
    return recorder.shapes


class _Recorder(fx.Interpreter):
    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__(network)
        self.shapes: dict[str, torch.Size] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.shapes[n.name] = value.shape
        return value
