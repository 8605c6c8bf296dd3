"""Converters of activations and arithmetic."""

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from pareconv.models.teachers.onnx_file.building import Call, Converter, Size, Value, stateless_name

Arithmetic = Callable[[Any, Any], Any]


def activation(make: Callable[[dict[str, Any]], nn.Module]) -> Converter:
    """Of a module that is made from the node's attributes."""
    return lambda call: _activated(call, make(call.attributes))


def clip(call: Call) -> fx.Node:
    least, most = call.number("min", 1), call.number("max", 2)
    if least == 0 and most == 6:
        return _activated(call, nn.ReLU6())
    if least == 0 and most is None:
        return _activated(call, nn.ReLU())
    low, high = -math.inf if least is None else least, math.inf if most is None else most
    return _activated(call, nn.Hardtanh(low, high))


def hard_sigmoid(call: Call) -> fx.Node:
    alpha, beta = (float(call.attributes.get(n, d)) for n, d in (("alpha", 0.2), ("beta", 0.5)))
    if math.isclose(alpha, 1 / 6, rel_tol=1e-5) and beta == 0.5:
        return _activated(call, nn.Hardsigmoid())
    inner = call.building.function(operator.mul, call.tensor(), alpha)
    shifted = call.building.function(operator.add, inner, beta)
    return call.building.module(_name(call), nn.Hardtanh(0.0, 1.0), shifted)


def swish(call: Call) -> fx.Node:
    call.require(alpha=1.0)
    return _activated(call, nn.SiLU())


def softmax(call: Call) -> fx.Node:
    axis = int(call.attributes.get("axis", -1 if call.opset >= 13 else 1))
    return _activated(call, nn.Softmax(dim=axis))


def dropout(call: Call) -> fx.Node:
    ratio = call.number("ratio", 1)
    return _activated(call, nn.Dropout(0.5 if ratio is None else ratio))


def function(target: Callable[..., Any]) -> Converter:
    """Of one tensor."""
    return lambda call: call.building.function(target, call.tensor())


def arithmetic(target: Arithmetic) -> Converter:
    """Of two values, tensors or sizes."""

    def convert(call: Call) -> Value:
        first, second = call.inputs[0], call.inputs[1]
        if not isinstance(first, fx.Node) and not isinstance(second, fx.Node):
            return _of_sizes(call, target)
        if target is operator.mul and (gated := _gated(call)) is not None:
            return gated
        one, other = (_operand(call, index) for index in (0, 1))
        return call.building.function(target, one, other)

    return convert


def _of_sizes(call: Call, target: Arithmetic) -> Value:
    """Arithmetic of shapes: whole numbers where the file knows them."""
    one, other = call.inputs[0], call.inputs[1]
    if isinstance(one, Tensor) and isinstance(other, Tensor) and one.is_floating_point():
        return torch.as_tensor(target(one, other))
    pairs = _paired(call.sizes(0), call.sizes(1))
    chosen = operator.floordiv if target is operator.truediv else target
    return [_calculated(call, chosen, one, other) for one, other in pairs]


def _paired(one: list[Size], other: list[Size]) -> list[tuple[Size, Size]]:
    length = max(len(one), len(other))
    one, other = (each * length if len(each) == 1 else each for each in (one, other))
    return list(zip(one, other, strict=True))


def _calculated(call: Call, target: Arithmetic, one: Size, other: Size) -> Size:
    if isinstance(one, int) and isinstance(other, int):
        return int(target(one, other))
    return call.building.function(target, one, other)


def _operand(call: Call, index: int) -> fx.Node | float:
    """A single constant is a number, anything else a tensor."""
    value = call.inputs[index]
    if isinstance(value, Tensor) and value.numel() == 1 and value.dim() <= 1:
        return float(value)
    return call.tensor(index)


def _gated(call: Call) -> fx.Node | None:
    """x * sigmoid(x) as one activation, which exporters take apart."""
    for gate, other in ((0, 1), (1, 0)):
        node, x = call.inputs[gate], call.inputs[other]
        if (
            isinstance(node, fx.Node)
            and isinstance(x, fx.Node)
            and node.op == "call_module"
            and node.args[0] is x
            and type(call.building.root.get_submodule(str(node.target))) is nn.Sigmoid
        ):
            return _activated_value(call, nn.SiLU(), x)
    return None


def _activated(call: Call, module: nn.Module) -> fx.Node:
    return _activated_value(call, module, call.tensor())


def _activated_value(call: Call, module: nn.Module, x: fx.Node) -> fx.Node:
    return call.building.module(_name(call), module, x)


def _name(call: Call) -> str:
    return stateless_name(call.name, call.kind)
