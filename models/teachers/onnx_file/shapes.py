"""Converters of what moves values and knows their shapes."""

import operator
from typing import Any

import numpy as np
import torch
from onnx import numpy_helper
from torch import Tensor, fx

from pareconv.models.teachers.onnx_file.building import Call, Sizes, Value

_FAR = 2**31  # an end of a slice beyond this is the end of the dimension


def reshape(call: Call) -> Value:
    value = call.inputs[0]
    shape = call.sizes(1)
    if isinstance(value, Tensor):
        return value.reshape([int(each) for each in shape if isinstance(each, int)])
    if isinstance(value, list):
        return value
    x = call.tensor()
    if call.attributes.get("allowzero") and 0 in shape:
        raise call.refused("it makes a tensor of nothing")
    if 0 in shape:  # as it was
        former = call.building.shape(x)
        shape = [former[place] if each == 0 else each for place, each in enumerate(shape)]
    if shape and shape[0] == call.building.batch:  # written for so many images, asked for any
        shape[0] = call.building.shape(x)[0] if -1 in shape else -1
    return call.building.function(torch.reshape, x, tuple(shape))


def flatten(call: Call) -> fx.Node:
    call.require(axis=1)
    return call.building.function(torch.flatten, call.tensor(), 1)


def transpose(call: Call) -> fx.Node:
    order = call.attributes.get("perm")
    if order is None:
        raise call.refused("it says no order of the dimensions")
    return call.building.function(torch.permute, call.tensor(), tuple(order))


def concat(call: Call) -> Value:
    if not any(isinstance(each, fx.Node) for each in call.inputs):
        return [size for index in range(len(call.inputs)) for size in call.sizes(index)]
    parts = [call.tensor(index) for index in range(len(call.inputs))]
    return call.building.function(torch.cat, parts, int(call.attributes["axis"]))


def split(call: Call) -> tuple[Value, ...]:
    axis = int(call.attributes.get("axis", 0))
    sizes = call.numbers("split", 1)
    x = call.tensor()
    if sizes is None:
        parts = call.building.function(torch.chunk, x, call.outputs, axis)
    else:
        parts = call.building.function(torch.split, x, sizes, axis)
    indices = range(call.outputs)
    return tuple(call.building.function(operator.getitem, parts, index) for index in indices)


def slice_(call: Call) -> Value:
    starts, ends = call.numbers("starts", 1), call.numbers("ends", 2)
    if starts is None or ends is None:
        raise call.refused("it says no start and end")
    axes = call.numbers("axes", 3) or list(range(len(starts)))
    steps = call.numbers("steps", 4) or [1] * len(starts)
    if min(steps) < 1:
        raise call.refused("it runs backwards")
    parts = {
        axis: slice(start, None if end >= _FAR else end, step)
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True)
    }
    if not isinstance(call.inputs[0], fx.Node):
        return call.sizes(0)[parts[0]]
    if min(parts) < 0:  # counted from the last dimension
        rank = len(call.building.shape(call.tensor()))
        parts = {axis % rank: part for axis, part in parts.items()}
    index = tuple(parts.get(axis, slice(None)) for axis in range(max(parts) + 1))
    return call.building.function(operator.getitem, call.tensor(), index)


def shape(call: Call) -> Sizes:
    first, last = call.attributes.get("start", 0), call.attributes.get("end")
    return call.building.shape(call.tensor())[first:last]


def gather(call: Call) -> Value:
    places = call.constant(1)
    if not isinstance(call.inputs[0], fx.Node):
        sizes = call.sizes(0)
        return [sizes[int(place)] for place in places.flatten()]
    if places.dim() != 0:
        raise call.refused("only one place can be taken of a tensor")
    axis = int(call.attributes.get("axis", 0))
    return call.building.function(torch.select, call.tensor(), axis, int(places))


def unsqueeze(call: Call) -> Value:
    if not isinstance(call.inputs[0], fx.Node):
        return call.sizes(0)  # a number, or a list of them, of which a shape is put together
    value: fx.Node = call.inputs[0]
    for axis in sorted(call.numbers("axes", 1) or ()):
        value = call.building.function(torch.unsqueeze, value, axis)
    return value


def squeeze(call: Call) -> Value:
    if not isinstance(call.inputs[0], fx.Node):
        return call.sizes(0)
    axes = call.numbers("axes", 1)
    if axes is None:
        raise call.refused("it has no axes")
    return call.building.function(torch.squeeze, call.tensor(), tuple(axes))


def identity(call: Call) -> Value:
    value = call.inputs[0]
    assert value is not None
    return value


def cast(call: Call) -> Value:
    """Of sizes, which are whole numbers whatever they are cast to; of tensors only to floats."""
    if isinstance(call.inputs[0], fx.Node) and call.attributes.get("to", 1) != 1:
        raise call.refused("only 32-bit floats are computed with")
    return identity(call)


def constant(call: Call) -> Tensor:
    for name, value in call.attributes.items():
        match name:
            case "value":
                return to_tensor(numpy_helper.to_array(value))
            case "value_float" | "value_floats":
                return torch.tensor(value)
            case "value_int" | "value_ints":
                return torch.tensor(value)
    raise call.refused(f"it holds none of the numbers that are known: {sorted(call.attributes)}")


def to_tensor(array: "np.ndarray[Any, Any]") -> Tensor:
    return torch.from_numpy(np.array(array))
