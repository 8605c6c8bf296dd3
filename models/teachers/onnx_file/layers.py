"""Converters of layers with weights."""

from typing import TypeVar

import torch
from torch import Tensor, fx, nn

from pareconv.models.teachers.onnx_file.building import Call, layer_name
from pareconv.models.teachers.onnx_file.padding import asymmetric, padded, same_padding

_PAIR = 2

LayerT = TypeVar("LayerT", bound=nn.Module)


def conv(call: Call) -> fx.Node:
    weight = call.constant(1)
    if weight.dim() != 4:
        raise call.refused(
            f"its weights are of {weight.dim()} dimensions; only images are convolved"
        )
    bias = call.constant(2) if call.has(2) else None
    stride, dilation = (_pair(call, name) for name in ("strides", "dilations"))
    groups = int(call.attributes.get("group", 1))
    kernel = int(weight.shape[2]), int(weight.shape[3])
    pads = same_padding(call, kernel, stride, dilation)
    x = call.tensor()
    if asymmetric(pads):
        x, pads = padded(call, x, pads), [0, 0, 0, 0]

    def make() -> nn.Conv2d:
        outputs, per_group = weight.shape[:2]
        layer = nn.Conv2d(
            per_group * groups, outputs, kernel, stride=stride, padding=(pads[0], pads[1]),
            dilation=dilation, groups=groups, bias=bias is not None,
        )  # fmt: skip
        return _filled(call, layer, weight=weight, bias=bias)

    identity = (*call.input_names[1:3], stride, dilation, groups, tuple(pads))
    return call.building.layer(_name(call), identity, make, x)


def batch_norm(call: Call) -> fx.Node:
    if call.outputs != 1 or call.attributes.get("training_mode"):
        raise call.refused("it is in training mode; export the network in evaluation mode")
    scale, shift, mean, variance = (call.constant(index) for index in range(1, 5))

    def make() -> nn.BatchNorm2d:
        layer = nn.BatchNorm2d(len(scale), eps=float(call.attributes.get("epsilon", 1e-5)))
        _filled(call, layer, weight=scale, bias=shift, running_mean=mean, running_var=variance)
        return layer.eval()

    return call.building.layer(_name(call), tuple(call.input_names[1:]), make, call.tensor())


def layer_norm(call: Call) -> fx.Node:
    call.require(axis=-1)
    weight, bias = call.constant(1), call.constant(2) if call.has(2) else None

    def make() -> nn.LayerNorm:
        eps = float(call.attributes.get("epsilon", 1e-5))
        layer = nn.LayerNorm(list(weight.shape), eps=eps, bias=bias is not None)
        return _filled(call, layer, weight=weight, bias=bias)

    return call.building.layer(_name(call), tuple(call.input_names[1:]), make, call.tensor())


def gemm(call: Call) -> fx.Node:
    call.require(transA=0)
    weight = call.constant(1) * float(call.attributes.get("alpha", 1.0))
    bias = call.constant(2) * float(call.attributes.get("beta", 1.0)) if call.has(2) else None
    if not call.attributes.get("transB", 0):
        weight = weight.T
    return _linear(call, weight, bias)


def matmul(call: Call) -> fx.Node:
    weight = call.inputs[1]
    if isinstance(weight, Tensor) and weight.dim() == _PAIR:
        return _linear(call, weight.T, None)
    return call.building.function(torch.matmul, call.tensor(0), call.tensor(1))


def prelu(call: Call) -> fx.Node:
    slope = call.constant(1).flatten()

    def make() -> nn.PReLU:
        return _filled(call, nn.PReLU(len(slope)), weight=slope)

    return call.building.layer(_name(call), (call.input_names[1],), make, call.tensor())


def _linear(call: Call, weight: Tensor, bias: Tensor | None) -> fx.Node:
    def make() -> nn.Linear:
        outputs, inputs = weight.shape
        spread = None if bias is None else bias.flatten().expand(outputs)
        layer = nn.Linear(inputs, outputs, bias=bias is not None)
        return _filled(call, layer, weight=weight, bias=spread)

    identity = (*call.input_names[1:3], tuple(sorted(call.attributes.items())))
    return call.building.layer(_name(call), identity, make, call.tensor())


def _name(call: Call) -> str:
    return layer_name(call.input_names[1], call.name, call.kind)


def _pair(call: Call, attribute: str) -> tuple[int, int]:
    first, second = call.attributes.get(attribute, (1, 1))
    return int(first), int(second)


def _filled(call: Call, layer: LayerT, **tensors: Tensor | None) -> LayerT:
    for name, value in tensors.items():
        if value is None:
            continue
        target = getattr(layer, name)
        if target.shape != value.shape:
            raise call.refused(
                f"its {name} is {tuple(value.shape)} where {tuple(target.shape)} is needed"
            )
        with torch.no_grad():
            target.copy_(value)
    return layer
