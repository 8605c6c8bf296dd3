"""Rewriting: a plain function from a teacher and a plan to a new network."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import Target

from pareconv.models.blocks import Block, find_blocks
from pareconv.models.convolutions.registry import operator, refusal
from pareconv.models.errors import PlanError
from pareconv.models.plan import Option, Plan


def rewrite(network: fx.GraphModule, plan: Plan, sample: Tensor | None = None) -> fx.GraphModule:
    """A copy of the canonical `network` with the blocks that `plan` names rebuilt from cheap
    convolutions.

    Mode, device, dtype and the names of all kept parameters stay; `network` is not touched. With
    `sample` [N, C, H, W], normalised images, every new layer is also fitted to what the old one
    gives on the activations that these images produce. Raises PlanError for a plan that does not
    fit or that changes nothing.
    """
    wanted = {conv: [option] for conv, option in replacements(network, plan).items()}
    student = copy.deepcopy(network)
    for (conv, _), layer in build(network, wanted, sample).items():
        student.set_submodule(conv, layer)
    return student


def replacements(network: fx.GraphModule, plan: Plan) -> dict[str, Option]:
    """Convolution name -> the option that replaces it; PlanError as in `rewrite`."""
    if not plan:
        raise PlanError("the plan keeps every block: there is nothing to rewrite")
    # A plan may name blocks at either granularity; a name means the same in both.
    known = {
        block.name: block
        for granularity in ("conv", "block")
        for block in find_blocks(network, granularity)
    }
    chosen: dict[str, Option] = {}
    for name, option in plan.items():
        if name not in known:
            raise PlanError(f"no block {name!r}; blocks: {', '.join(known) or 'none'}")
        for conv in rebuilt(network, known[name], option):
            if conv in chosen:
                raise PlanError(f"block {name}: another block of the plan replaces {conv} already")
            chosen[conv] = option
    return chosen


def rebuilt(network: fx.GraphModule, block: Block, option: Option) -> list[str]:
    """The convolutions of `block` that `option` replaces; PlanError with reasons if none."""
    reasons = refusals(network, block, option)
    accepted = [conv for conv in block.convs if conv not in reasons]
    if not accepted:
        listed = "; ".join(f"{conv}: {reason}" for conv, reason in reasons.items())
        raise PlanError(f"block {block.name}: {option} fits none of its convolutions ({listed})")
    return accepted


def refusals(network: fx.GraphModule, block: Block, option: Option) -> dict[str, str]:
    """Convolution name -> why `option` cannot replace it, for those of `block` that it cannot."""
    reasons = {conv: refusal(_conv(network, conv), option) for conv in block.convs}
    return {conv: reason for conv, reason in reasons.items() if reason is not None}


def _conv(network: fx.GraphModule, name: str) -> nn.Conv2d:
    conv = network.get_submodule(name)
    assert isinstance(conv, nn.Conv2d)  # blocks hold nothing else
    return conv


def build(
    network: fx.GraphModule,
    wanted: Mapping[str, Sequence[Option]],
    sample: Tensor | None = None,
) -> dict[tuple[str, Option], nn.Module]:
    """New layers for convolutions of `network`, by convolution and option.

    With a `sample` of normalised images, all of them are fitted within one pass of the network.
    """
    if sample is None:
        return {
            (conv, option): _replacement(_conv(network, conv), option)
            for conv, options in wanted.items()
            for option in options
        }
    builder = _Builder(network, wanted)
    training = network.training
    try:
        with torch.no_grad():
            network.eval()
            builder.run(sample)
    finally:
        network.train(training)
    return {place: layer.train(training) for place, layer in builder.layers.items()}


def _replacement(conv: nn.Conv2d, option: Option, inputs: Tensor | None = None) -> nn.Module:
    return operator(option.operator).from_conv(conv, inputs, **option.kwargs)


class _Builder(fx.Interpreter):
    """Builds each new layer inside one pass of the teacher: no activation outlives its use."""

    def __init__(self, network: fx.GraphModule, wanted: Mapping[str, Sequence[Option]]) -> None:
        super().__init__(network)
        self.wanted = wanted
        self.layers: dict[tuple[str, Option], nn.Module] = {}

    def call_module(self, target: Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = str(target)
        for option in self.wanted.get(name, ()):
            conv = self.fetch_attr(name)
            self.layers[name, option] = _replacement(conv, option, args[0])
        return super().call_module(target, args, kwargs)
