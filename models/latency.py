"""Latency: how long a network takes where it will run, and what each option of a block changes.

The latency of a plan is predicted as the teacher's and the sum of the changes.
"""

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, fx

from pareconv.models.blocks import Block
from pareconv.models.convolutions.registry import operator
from pareconv.models.cutting import cut, cut_block, entry
from pareconv.models.plan import KEEP, Option
from pareconv.models.rewriting import rebuild
from pareconv.models.runtimes import (
    Runtime,
    Value,
    runner,
    tensors,
    threads_of_torch,
    versions,
)
from pareconv.models.timing import Measured, Timing, processor, take_turns


@dataclass(frozen=True, slots=True)
class Conditions:
    """Where and how a latency counts: of `batch` images at once, on so many CPU threads.

    `onnxruntime` is on the CPU, whatever the `device`; `torch` is there.
    """

    runtime: Runtime = "onnxruntime"
    batch: int = 1
    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.runtime == "onnxruntime":
            object.__setattr__(self, "device", "cpu")

    @property
    def subject(self) -> dict[str, Any]:
        """What a latency measured here is of: the device by name, and versions of libraries."""
        is_cuda = self.device.startswith("cuda")
        return {
            "device": torch.cuda.get_device_name(self.device) if is_cuda else processor(),
            "runtime": self.runtime,
            "batch": self.batch,
            "threads": self.threads,
            "versions": versions(self.runtime),
        }


@dataclass(frozen=True, slots=True)
class Part:
    """What is timed: an option of a block or, without a block, the whole network as it is.

    `key` tells parts apart that take different times: by their layers, the option and the `shape`
    of what goes in, never by names or weights, so that a part is found again in any network.
    """

    block: Block | None
    option: Option
    shape: str
    key: str


def compare(
    networks: Sequence[fx.GraphModule], shape: tuple[int, int, int, int], conditions: Conditions
) -> list[Timing]:
    """How long whole networks take on images of `shape` (1, C, H, W), in turns."""
    images = _images(networks[0], shape, conditions)
    with threads_of_torch(conditions.threads):
        return take_turns(
            [runner(conditions.runtime, each, images, conditions.threads) for each in networks]
        )


def parts(
    network: fx.GraphModule,
    shape: tuple[int, int, int, int],
    wanted: Mapping[Block, Sequence[Option]],
    conditions: Conditions,
) -> list[Part]:
    """The whole canonical `network` for images of `shape` (1, C, H, W), and then the options of
    each block.
    """
    images = _images(network, shape, conditions)
    found = [_part(None, KEEP, network, images)]
    for block, options in wanted.items():
        alone, value = cut_block(network, block), _input(network, block, images)
        found += [_part(block, option, alone, value) for option in options]
    return found


def measure(
    network: fx.GraphModule,
    shape: tuple[int, int, int, int],
    wanted: Sequence[Part],
    conditions: Conditions,
) -> Iterator[Measured]:
    """Of each key once; the options of a block that are there one after the other in turns."""
    with threads_of_torch(conditions.threads):
        for group in groups(network, shape, wanted, conditions):
            kept, *timings = take_turns(
                [
                    runner(conditions.runtime, each, group.value, conditions.threads)
                    for each in (group.kept, *group.rebuilt)
                ]
            )
            for part, timing in zip(group.parts, timings or [kept], strict=True):
                yield Measured(
                    part.key, str(part.option), part.shape, timing.ms, kept.ms, timing.spread_ms
                )


@dataclass(frozen=True, eq=False)
class Group:
    """Parts that are compared: networks on the same `value`, a block as it is and as each of the
    parts makes it. Of a part that is a whole network there is that alone.
    """

    parts: Sequence[Part]
    value: Value
    kept: fx.GraphModule
    rebuilt: Sequence[fx.GraphModule]


def groups(
    network: fx.GraphModule,
    shape: tuple[int, int, int, int],
    wanted: Sequence[Part],
    conditions: Conditions,
) -> Iterator[Group]:
    """The parts by block, each key once."""
    images = _images(network, shape, conditions)
    distinct = {part.key: part for part in wanted}.values()
    for block, found in groupby(distinct, lambda part: part.block):
        members = list(found)
        if block is None:
            yield Group(members, images, network, ())
        else:
            options = [part.option for part in members]
            kept, *rebuilt = _alternatives(network, block, options)
            yield Group(members, _input(network, block, images), kept, rebuilt)


def _alternatives(
    network: fx.GraphModule, block: Block, options: Sequence[Option]
) -> list[fx.GraphModule]:
    """The block as it is, and as each option makes it."""
    found = [copy.deepcopy(cut_block(network, block)) for _ in range(len(options) + 1)]
    rebuilt = rebuild(network, [(block, option) for option in options])
    for alternative, made in zip(found[1:], rebuilt, strict=True):
        made.apply(alternative)
    return found


def _part(block: Block | None, option: Option, alone: fx.GraphModule, value: Value) -> Part:
    shape = "; ".join("x".join(map(str, each.shape)) for each in tensors(value))
    return Part(block, option, shape, _key(alone, shape, option))


def _images(
    network: fx.GraphModule, shape: tuple[int, int, int, int], conditions: Conditions
) -> Tensor:
    parameter = next(network.parameters())
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(conditions.batch, *shape[1:], generator=generator)
    return images.to(parameter.device, parameter.dtype)


def _input(network: fx.GraphModule, block: Block, images: Tensor) -> Value:
    with torch.no_grad():
        (value,) = cut(network, [entry(network)], [block.input]).eval()(images)
    found: Value = value
    return found


def _key(alone: fx.GraphModule, shape: str, option: Option) -> str:
    numbers = {node: number for number, node in enumerate(alone.graph.nodes)}
    lines = [shape, str(option)]
    if option != KEEP:
        lines.append(str(operator(option.operator).version))
    for node in alone.graph.nodes:
        arguments = fx.map_arg((node.args, node.kwargs), lambda each: numbers[each])
        lines.append(f"{node.op} {_what(alone, node)} {arguments}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _what(alone: fx.GraphModule, node: fx.Node) -> str:
    match node.op:
        case "call_module":
            return repr(alone.get_submodule(str(node.target)))
        case "call_function":
            return str(getattr(node.target, "__name__", node.target))
        case "call_method":
            return str(node.target)
    return ""
