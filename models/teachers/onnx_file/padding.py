"""Padding as ONNX says it: top, left, bottom, right; or a rule by which the runtime finds it."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import fx

from pareconv.models.teachers.onnx_file.building import Call

Pads = list[int]  # top, left, bottom, right

_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def same_padding(
    call: Call, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Pads:
    """Of a convolution or a pool. `SAME_*` is known beforehand only where the stride is 1."""
    rule = call.attributes.get("auto_pad", "NOTSET")
    if rule == "NOTSET":
        return [int(each) for each in call.attributes.get("pads", (0, 0, 0, 0))]
    if rule == "VALID":
        return [0, 0, 0, 0]
    if tuple(stride) != (1, 1):
        raise call.refused(
            f"auto_pad={rule} with a stride of {tuple(stride)} depends on the image's size; export "
            "with explicit pads"
        )
    totals = [each * (size - 1) for each, size in zip(dilation, kernel, strict=True)]
    less, more = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return [*less, *more] if rule == "SAME_UPPER" else [*more, *less]


def asymmetric(pads: Pads) -> bool:
    return pads[:2] != pads[2:]


def padded(call: Call, x: fx.Node, pads: Pads, *, value: float = 0.0) -> fx.Node:
    top, left, bottom, right = pads
    return call.building.function(F.pad, x, [left, right, top, bottom], value=value)


def pad(call: Call) -> fx.Node:
    """The operator `Pad`, of an image batch: zeros or the like around channels, rows and columns,
    other modes around rows and columns.
    """
    mode = _MODES[call.attributes.get("mode", "constant")]
    amounts = call.numbers("pads", 1)
    value = call.number("value", 2) or 0.0
    if amounts is None:
        raise call.refused("it says no pads")
    if call.has(3):
        amounts = _spread(call, amounts)
    begins, ends = amounts[:4], amounts[4:]
    if len(amounts) != 8 or begins[0] or ends[0] or (mode != "constant" and begins[1] + ends[1]):
        raise call.refused(f"pads={amounts} are not of an image batch's height and width")
    order = [begins[3], ends[3], begins[2], ends[2]]
    if begins[1] or ends[1]:
        order += [begins[1], ends[1]]
    extra = {"value": value} if mode == "constant" else {}
    return call.building.function(F.pad, call.tensor(), order, mode=mode, **extra)


def _spread(call: Call, amounts: list[int]) -> list[int]:
    """From the pads of some axes those of all four."""
    axes = [int(axis) % 4 for axis in call.constant(3)]
    every = [0] * 8
    for place, axis in enumerate(axes):
        every[axis], every[4 + axis] = amounts[place], amounts[len(axes) + place]
    return every
