"""Slim: the inner channels of a block that matter least are left out."""

import copy
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import Target
from torch.nn.modules.batchnorm import _BatchNorm

from pareconv.models.blocks import Block
from pareconv.models.convolutions.fitting import fit_conv, images_for
from pareconv.models.convolutions.operator import Hyper, Rebuilt
from pareconv.models.convolutions.whole_block import BlockOperator
from pareconv.models.cutting import cut_block
from pareconv.models.plan import HyperValue
from pareconv.models.widths import Width, inner_widths


class Slim(BlockOperator):
    """Every width that is the block's own is cut to `ratio` of its channels: between the two
    convolutions of a basic block, the expansion of an inverted one, its squeeze.

    Kept are the channels that carry most of what the next convolutions give: the second moment of
    the channel times the squared weights that read it, as Puzzle initialises narrower layers
    (Bercovich et al. 2024, arXiv 2411.19146, channel contribution). All weights are inherited;
    where inputs are given, each convolution that reads fewer channels is then fitted by least
    squares to what it gave before. Without inputs, the weights that write a channel stand for its
    second moment. A grouped convolution loses whole groups.
    """

    name = "slim"
    summary = "fewer inner channels, those kept that carry the block's output"
    formula = "the block with inner widths of round(ratio*M)"
    cost = "inner widths round(ratio*M): params and multiply-adds of the narrower block"
    source = "Bercovich et al. 2024, arXiv 2411.19146 (channel contribution)"
    when = (
        "Inverted and bottleneck blocks, whose inner width is most of their cost; deploys "
        "without new layers."
    )
    hyper = (
        Hyper("ratio", 0.01, 1.0, (0.25, 0.5, 0.75), "share of the inner channels that remains"),
    )

    @classmethod
    def _refusal(cls, network: fx.GraphModule, block: Block, **hyper: HyperValue) -> str | None:
        widths = inner_widths(network, block)
        if not widths:
            return "no channels of its own: all meet the block's input or output"
        if all(_remaining(width, hyper["ratio"]) == width.size for width in widths):
            return f"ratio={hyper['ratio']} leaves all of its {widths[0].size} inner channels"
        return None

    @classmethod
    def rebuild(
        cls,
        network: fx.GraphModule,
        block: Block,
        inputs: Tensor | None,
        **hyper: HyperValue,
    ) -> Rebuilt:
        part = cut_block(network, block)
        widths = inner_widths(network, block)
        readers = {reader for width in widths for reader in width.readers}
        seen = _Seen(part, readers)
        into, out_of = dict[str, Tensor](), dict[str, Tensor]()
        with torch.no_grad():
            if inputs is not None:
                seen.run(inputs := _enough(part, readers, inputs))
            for width in widths:
                kept = _kept(part, width, _remaining(width, hyper["ratio"]), seen.energies)
                into |= dict.fromkeys((*width.readers, *width.carriers), kept)
                out_of |= dict.fromkeys((*width.writers, *width.carriers), kept)
            names = dict.fromkeys((*into, *out_of))
            rebuilt = Rebuilt(
                {
                    name: _narrowed(part.get_submodule(name), into.get(name), out_of.get(name))
                    for name in names
                }
            )
            if inputs is not None:
                targets = {
                    name: output[:, out_of[name]] if name in out_of else output
                    for name, output in seen.outputs.items()
                }
                rebuilt.apply(slimmed := copy.deepcopy(part))
                _Fit(slimmed, targets).run(inputs)
        return rebuilt


class _Seen(fx.Interpreter):
    """Runs a block and keeps, of its `readers`, the second moments of each input channel and the
    outputs.
    """

    def __init__(self, part: fx.GraphModule, readers: Collection[str]) -> None:
        super().__init__(part)
        self._readers = readers
        self.energies: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}

    def call_module(self, target: Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        value = super().call_module(target, args, kwargs)
        if target in self._readers:
            self.energies[str(target)] = args[0].square().mean((0, 2, 3))
            self.outputs[str(target)] = value
        return value


class _Fit(fx.Interpreter):
    """Runs a block and, before each of its readers runs, fits it to what it gave before."""

    def __init__(self, part: fx.GraphModule, targets: Mapping[str, Tensor]) -> None:
        super().__init__(part)
        self._targets = targets

    def call_module(self, target: Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if target in self._targets:
            fit_conv(self.fetch_attr(str(target)), args[0], self._targets[str(target)])
        return super().call_module(target, args, kwargs)


def _enough(part: fx.GraphModule, readers: Collection[str], inputs: Tensor) -> Tensor:
    """As many of the images as the reader with the largest map needs: others make do."""
    one = _Seen(part, readers)
    one.run(inputs[:1])
    wanted = (
        images_for(part.get_submodule(name), output)  # type: ignore[arg-type]
        for name, output in one.outputs.items()
    )
    return inputs[: min(wanted)]


def _remaining(width: Width, ratio: HyperValue) -> int:
    return max(1, round(ratio * width.size / width.unit)) * width.unit


def _kept(part: fx.GraphModule, width: Width, count: int, energies: Mapping[str, Tensor]) -> Tensor:
    """Places of the `count` channels, in order, that carry most of what their readers give."""
    share = torch.zeros(width.size // width.unit)
    for name in width.readers:
        weight = part.get_submodule(name).get_parameter("weight")
        energy = energies.get(name)
        if energy is None:
            energy = _expected(part, width)
        carried = energy * weight.square().sum((0, 2, 3))
        share = share.to(carried) + carried.view(-1, width.unit).sum(1)
    groups = share.topk(count // width.unit).indices.sort().values
    return (groups[:, None] * width.unit + torch.arange(width.unit).to(groups)).flatten()


def _expected(part: fx.GraphModule, width: Width) -> Tensor:
    """Second moments of the channels as the batch norm before has them, or as the weights of the
    writers let one guess.
    """
    modules = [part.get_submodule(name) for name in (*width.writers, *width.carriers)]
    norms = [module for module in modules if isinstance(module, _BatchNorm) and module.affine]
    if norms:
        return norms[-1].weight.square() + norms[-1].bias.square()
    weights = (module.get_parameter("weight") for module in modules[: len(width.writers)])
    return sum((weight.square().sum((1, 2, 3)) for weight in weights), torch.zeros(()))


def _narrowed(module: nn.Module, into: Tensor | None, out_of: Tensor | None) -> nn.Module:
    """A copy that reads and writes those channels alone; None stands for all."""
    narrow = copy.deepcopy(module)
    if isinstance(narrow, nn.Conv2d):
        if out_of is not None:
            narrow.out_channels = len(out_of)
            _select(narrow, out_of)
        if into is not None and narrow.groups == 1:
            narrow.in_channels = len(into)
            narrow.weight = _part_of(narrow.weight, 1, into)
        elif into is not None:
            narrow.groups = narrow.groups * len(into) // narrow.in_channels
            narrow.in_channels = len(into)
    elif isinstance(narrow, _BatchNorm) and out_of is not None:
        narrow.num_features = len(out_of)
        _select(narrow, out_of)
    elif isinstance(narrow, nn.PReLU) and narrow.num_parameters > 1 and out_of is not None:
        narrow.num_parameters = len(out_of)
        _select(narrow, out_of)
    return narrow


def _select(module: nn.Module, kept: Tensor) -> None:
    """Cut all that `module` holds of each channel."""
    for name, parameter in module.named_parameters():
        module.register_parameter(name, _part_of(parameter, 0, kept))
    for name, value in module.named_buffers():
        if value.dim():
            module.register_buffer(name, value.index_select(0, kept))


def _part_of(parameter: Tensor, dim: int, kept: Tensor) -> nn.Parameter:
    return nn.Parameter(parameter.index_select(dim, kept), parameter.requires_grad)
