"""The contract of a cheap convolution: what it refuses, and how it is born from the one it
replaces.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any, Self

import torch
from torch import Tensor, fx, nn

from pareconv.models.blocks import Block
from pareconv.models.convolutions.fitting import enough
from pareconv.models.convolutions.operator import Operator, Rebuilt, Shapes, Step
from pareconv.models.cost import count
from pareconv.models.cost_table import Cost
from pareconv.models.plan import HyperValue, Option


class CheapConv(nn.Module, Operator):
    """A module that stands where one dense `nn.Conv2d` stood: same input, same output shape,
    cheaper.

    A subclass names its `hyper`-parameters, builds its layers in `__init__(conv, **hyper)` from the
    geometry of the convolution alone, says in `_refusal` what it cannot replace, and copies what it
    can of the convolution's function in `_imitate`. It holds no batch norm or activation unless its
    source does. It is one leaf to torch.fx and exports as standard operators.
    """

    @classmethod
    def refusals(cls, network: fx.GraphModule, block: Block, **hyper: HyperValue) -> dict[str, str]:
        reasons = {name: cls.refusal(_conv(network, name), **hyper) for name in block.convs}
        return {name: reason for name, reason in reasons.items() if reason is not None}

    @classmethod
    def steps(cls, network: fx.GraphModule, block: Block, **hyper: HyperValue) -> Sequence[Step]:
        refused = cls.refusals(network, block, **hyper)

        def made(name: str, inputs: Tensor | None) -> Rebuilt:
            return Rebuilt({name: cls.from_conv(_conv(network, name), inputs, **hyper)})

        return [
            Step(read, partial(made, name))
            for name, read in zip(block.convs, block.reads, strict=True)
            if name not in refused
        ]

    @classmethod
    def change(
        cls, network: fx.GraphModule, block: Block, shapes: Shapes, **hyper: HyperValue
    ) -> Cost:
        refused, total = cls.refusals(network, block, **hyper), Cost()
        for name, read in zip(block.convs, block.reads, strict=True):
            if name not in refused:
                conv, (height, width) = _conv(network, name), shapes[read][-2:]
                total += cls.count(conv, (height, width), **hyper)
                total -= count_dense(conv, (height, width))
        return total

    @classmethod
    def refusal(cls, conv: nn.Conv2d, **hyper: HyperValue) -> str | None:
        """Why this operator cannot replace `conv`, or would not make it cheaper; None if it can."""
        if conv.groups != 1:
            return f"already grouped (groups={conv.groups})"
        if isinstance(conv.padding, str):  # left by resolve_padding: an even kernel
            return f"padding={conv.padding!r} pads unevenly, which fvcore does not count"
        return (
            cls._refuse_hyper(hyper)
            or cls._refusal(conv, **hyper)
            or (cls._refuse_cost(conv, hyper) if cls.saves else None)
        )

    @classmethod
    def from_conv(cls, conv: nn.Conv2d, inputs: Tensor | None = None, **hyper: HyperValue) -> Self:
        """Build the operator in place of `conv` and start it as close to it as closed forms allow.

        `inputs` [N, Ci, H, W] is a sample of what `conv` sees: with it, the last linear layer is
        fitted by least squares to the outputs of `conv`. Raises ValueError where `refusal` has a
        reason.
        """
        if reason := cls.refusal(conv, **hyper):
            raise ValueError(f"{Option.of(cls.name, **hyper)}: {reason}")
        module = cls(conv, **hyper).to(device=conv.weight.device, dtype=conv.weight.dtype)
        with torch.no_grad():
            module._imitate(conv, None if inputs is None else enough(conv, inputs))
        return module.train(conv.training)

    @classmethod
    def count(cls, conv: nn.Conv2d, size: tuple[int, int], **hyper: HyperValue) -> Cost:
        """Cost of the operator in place of `conv` on one input of `size` (H, W), in pixels."""
        return _count(cls, _signature(conv), size, tuple(hyper.items()))

    def __init__(self, conv: nn.Conv2d, **hyper: HyperValue) -> None:
        super().__init__()

    @classmethod
    def _refusal(cls, conv: nn.Conv2d, **hyper: HyperValue) -> str | None:
        """What of the geometry or the widths this operator cannot do."""
        return None

    def _imitate(self, conv: nn.Conv2d, inputs: Tensor | None) -> None:
        """Take over what closed forms can of the function of `conv`; runs without gradients."""
        raise NotImplementedError

    @classmethod
    def _refuse_cost(cls, conv: nn.Conv2d, hyper: dict[str, HyperValue]) -> str | None:
        size = _nominal_size(conv)
        before = count_dense(conv, size)
        after = cls.count(conv, size, **hyper)
        for what, old, new in (
            ("multiply-adds", before.flops + before.adds, after.flops + after.adds),
            ("parameters", before.params, after.params),
        ):
            if new >= old:
                return f"not cheaper: {new:,} {what} in place of {old:,}"
        return None


def _conv(network: fx.GraphModule, name: str) -> nn.Conv2d:
    conv = network.get_submodule(name)
    assert isinstance(conv, nn.Conv2d)  # blocks hold nothing else
    return conv


def count_dense(conv: nn.Conv2d, size: tuple[int, int]) -> Cost:
    """Cost of the convolution itself on one input of `size` (H, W)."""
    return _count(None, _signature(conv), size, ())


def _nominal_size(conv: nn.Conv2d) -> tuple[int, int]:
    """An input of about 8 x 8 outputs; `find_space` compares once more at the real size."""
    return tuple(
        8 * stride + dilation * (kernel - 1)
        for stride, dilation, kernel in zip(
            conv.stride, conv.dilation, conv.kernel_size, strict=True
        )
    )  # type: ignore[return-value]


def _signature(conv: nn.Conv2d) -> tuple[Any, ...]:
    return (
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        conv.padding,
        conv.dilation,
        conv.groups,
        conv.bias is not None,
        conv.padding_mode,
    )


@lru_cache(maxsize=100_000)
def _count(
    operator: type[CheapConv] | None,
    signature: tuple[Any, ...],
    size: tuple[int, int],
    hyper: tuple[tuple[str, HyperValue], ...],
) -> Cost:
    with torch.device(
        "meta"
    ):  # weights are never looked at: do not spend time on initialising them
        conv = nn.Conv2d(*signature)
        module = conv if operator is None else operator(conv, **dict(hyper))
    return count(module.to_empty(device="cpu"), 1, conv.in_channels, *size)
