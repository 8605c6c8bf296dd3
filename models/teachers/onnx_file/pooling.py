"""Converters of pools and reductions."""

import torch
import torch.nn.functional as F
from torch import fx, nn

from pareconv.models.convolutions.geometry import Pair, pair
from pareconv.models.teachers.onnx_file.building import Call, stateless_name
from pareconv.models.teachers.onnx_file.padding import Pads, asymmetric, padded, same_padding


def max_pool(call: Call) -> fx.Node:
    call.require(storage_order=0)
    if call.outputs != 1:
        raise call.refused("its indices are not supported")
    kernel, stride, dilation, pads = _geometry(call)
    x = call.tensor()
    if asymmetric(pads) or not _fits(kernel, pads):
        x, pads = padded(call, x, pads, value=float("-inf")), [0, 0, 0, 0]
    pool = nn.MaxPool2d(kernel, stride, (pads[0], pads[1]), dilation, ceil_mode=bool(_ceil(call)))
    return call.building.module(_name(call), pool, x)


def average_pool(call: Call) -> fx.Node:
    kernel, stride, dilation, pads = _geometry(call)
    if dilation != (1, 1):
        raise call.refused(f"dilations={dilation} are not supported")
    counts_pads = bool(call.attributes.get("count_include_pad", 0))
    x = call.tensor()
    if asymmetric(pads):
        if not counts_pads:
            raise call.refused(f"pads={pads}, which do not count, are not alike on both sides")
        x, pads = padded(call, x, pads), [0, 0, 0, 0]
    pool = nn.AvgPool2d(
        kernel,
        stride,
        (pads[0], pads[1]),
        ceil_mode=bool(_ceil(call)),
        count_include_pad=counts_pads,
    )
    return call.building.module(_name(call), pool, x)


def global_average_pool(call: Call) -> fx.Node:
    return call.building.module(_name(call), nn.AdaptiveAvgPool2d(1), call.tensor())


def global_max_pool(call: Call) -> fx.Node:
    return call.building.module(_name(call), nn.AdaptiveMaxPool2d(1), call.tensor())


def reduce_mean(call: Call) -> fx.Node:
    """Over height and width it is a pool."""
    axes = call.numbers("axes", 1)
    keeps = bool(call.attributes.get("keepdims", 1))
    if axes is None:
        raise call.refused("it has no axes")
    if keeps and sorted(axes) in ([2, 3], [-2, -1]):
        return global_average_pool(call)
    return call.building.function(torch.mean, call.tensor(), axes, keepdim=keeps)


def reduce_sum(call: Call) -> fx.Node:
    axes = call.numbers("axes", 1)
    if axes is None:
        raise call.refused("it has no axes")
    keeps = bool(call.attributes.get("keepdims", 1))
    return call.building.function(torch.sum, call.tensor(), axes, keepdim=keeps)


def local_response_norm(call: Call) -> fx.Node:
    usual = {"alpha": 1e-4, "beta": 0.75, "bias": 1.0}
    alpha, beta, bias = (float(call.attributes.get(name, usual[name])) for name in usual)
    norm = nn.LocalResponseNorm(int(call.attributes["size"]), alpha, beta, bias)
    return call.building.module(_name(call), norm, call.tensor())


def resize(call: Call) -> fx.Node:
    """Nearest and linear interpolation, as torch has them."""
    mode = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}[
        call.attributes.get("mode", "nearest")
    ]
    coordinates = call.attributes.get("coordinate_transformation_mode", "half_pixel")
    aligned = coordinates == "align_corners"
    usual = {"half_pixel", "pytorch_half_pixel", "align_corners"}
    if mode == "nearest":
        call.require(nearest_mode="floor")
        usual = {"asymmetric"}
    if coordinates not in usual:
        raise call.refused(f"coordinate_transformation_mode={coordinates!r} is not supported")
    extra = {} if mode == "nearest" else {"align_corners": aligned}
    if call.has(3):
        size = call.sizes(3)[2:]
        return call.building.function(F.interpolate, call.tensor(), size=size, mode=mode, **extra)
    factors = [float(each) for each in call.constant(2).flatten()][2:]
    return call.building.function(
        F.interpolate, call.tensor(), scale_factor=factors, mode=mode, **extra
    )


def _geometry(call: Call) -> tuple[Pair, Pair, Pair, Pads]:
    kernel, stride, dilation = (
        pair(tuple(int(each) for each in call.attributes.get(name, (1, 1))))
        for name in ("kernel_shape", "strides", "dilations")
    )
    return kernel, stride, dilation, same_padding(call, kernel, stride, dilation)


def _fits(kernel: tuple[int, ...], pads: Pads) -> bool:
    """torch pads a pool by half its kernel at most."""
    return all(pad <= size // 2 for pad, size in zip(pads[:2], kernel, strict=True))


def _ceil(call: Call) -> int:
    return int(call.attributes.get("ceil_mode", 0))


def _name(call: Call) -> str:
    return stateless_name(call.name, call.kind)
