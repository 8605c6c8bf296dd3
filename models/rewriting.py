"""Rewriting: a plain function from a teacher and a plan to a new network."""

import copy
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from pareconv.models.blocks import Block, find_blocks
from pareconv.models.convolutions.operator import Rebuilt, Step
from pareconv.models.convolutions.registry import operator
from pareconv.models.errors import PlanError
from pareconv.models.plan import Option, Plan

Choice = tuple[Block, Option]


def rewrite(network: fx.GraphModule, plan: Plan, sample: Tensor | None = None) -> fx.GraphModule:
    """A copy of the canonical `network` with the blocks that `plan` names rebuilt.

    Mode, device, dtype and the names of all kept parameters stay; `network` is not touched. With
    `sample` [N, C, H, W], normalised images, every new layer is also fitted to what the old one
    gives on the activations that these images produce. Raises PlanError for a plan that does not
    fit or that changes nothing.
    """
    student = copy.deepcopy(network)
    for rebuilt in rebuild(network, choices(network, plan), sample):
        rebuilt.apply(student)
    return student


def choices(network: fx.GraphModule, plan: Plan) -> list[Choice]:
    """What `plan` makes of which block; PlanError as in `rewrite`."""
    if not plan:
        raise PlanError("the plan keeps every block: there is nothing to rewrite")
    known = known_blocks(network)
    chosen: list[Choice] = []
    taken: set[str] = set()
    for name, option in plan.items():
        if name not in known:
            raise PlanError(f"no block {name!r}; blocks: {', '.join(known) or 'none'}")
        convs = rebuilt_convs(network, known[name], option)
        if again := [conv for conv in convs if conv in taken]:
            raise PlanError(f"block {name}: another block of the plan replaces {again[0]} already")
        taken.update(convs)
        chosen.append((known[name], option))
    return chosen


def known_blocks(network: fx.GraphModule) -> dict[str, Block]:
    """By name, those of both granularities: a plan may name either, and a name that is in both
    means the same.
    """
    return {
        block.name: block
        for granularity in ("conv", "block")
        for block in find_blocks(network, granularity)
    }


def rebuilt_convs(network: fx.GraphModule, block: Block, option: Option) -> list[str]:
    """The convolutions of `block` that `option` rebuilds; PlanError with reasons if none."""
    reasons = refusals(network, block, option)
    accepted = [conv for conv in block.convs if conv not in reasons]
    if not accepted:
        listed = "; ".join(f"{conv}: {reason}" for conv, reason in reasons.items())
        raise PlanError(f"block {block.name}: {option} fits none of its convolutions ({listed})")
    return accepted


def refusals(network: fx.GraphModule, block: Block, option: Option) -> dict[str, str]:
    """Convolution name -> why `option` does not rebuild it, for those of `block` that stay."""
    return operator(option.operator).refusals(network, block, **option.kwargs)


def rebuild(
    network: fx.GraphModule, wanted: Sequence[Choice], sample: Tensor | None = None
) -> list[Rebuilt]:
    """What becomes of each of the blocks, in that order; `network` is not touched.

    With a `sample` of normalised images, all of them are fitted within one pass of the network.
    """
    steps = [
        list(operator(option.operator).steps(network, block, **option.kwargs))
        for block, option in wanted
    ]
    if sample is None:
        return [Rebuilt.together(step.make(None) for step in each) for each in steps]
    training = network.training
    try:
        with torch.no_grad():
            builder = _Builder(network.eval(), [step for each in steps for step in each])
            builder.run(sample)
    finally:
        network.train(training)
    found = [Rebuilt.together(builder.made[step] for step in each) for each in steps]
    for module in (module for each in found for module in each.modules.values()):
        module.train(training)
    return found


class _Builder(fx.Interpreter):
    """Takes every step inside one pass of the network: no activation outlives its use."""

    def __init__(self, network: fx.GraphModule, steps: Sequence[Step]) -> None:
        super().__init__(network)
        self.made: dict[Step, Rebuilt] = {}
        self._steps = defaultdict[str, list[Step]](list)
        for step in steps:
            self._steps[step.at].append(step)

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        for step in self._steps[n.name]:
            self.made[step] = step.make(value)
        return value
