"""Adder: a convolution that compares its window with each filter by additions alone."""

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pareconv.models.blocks import Block
from pareconv.models.convolutions.base import CheapConv
from pareconv.models.convolutions.fitting import patches
from pareconv.models.convolutions.geometry import Pair, pad_mode, pads_of, pair
from pareconv.models.plan import HyperValue

_ETA = 0.2  # of the adaptive local learning rate, as in the authors' code
_LEAST_NORM = 1e-12
_MOST_ELEMENTS = 2**21  # of the unfolded input that is looked at at once
_MOST_PAIRS = 2048  # of input and output channels, each a map, that an export holds at once
# Where weights start: beyond all but so small a share of what a tap sees, or of N(0, 1).
_TAIL, _REACH = 0.01, 2.33


class Adder(CheapConv):
    """x -> y[o] = - sum over the window of |x - w[o]| (stride, dilation, padding; a padded tap
    counts -|w|), bias as in the source.

    AdderNet (Chen et al. 2020, arXiv 1912.13200), its gradients included: of the weights x - w, of
    the input HardTanh(w - x), and the weights' gradient of each layer scaled to the length
    eta*sqrt(numel), eta = 0.2 (of which Adam's steps, block by block, keep the direction alone). No
    multiplication is left, but two additions for each: a FLOPs budget counts them, so that an adder
    never saves any. Its outputs are all negative and spread widely; only a convolution that a batch
    norm follows is replaced.

    Start (ours; the paper's is N(0, 1)): a weight above all that its tap sees makes of -|x - w| x
    itself, up to a constant, and one below it -x. So every weight goes to the end that the sign of
    the kernel's says; the batch norm takes out scale and constant.
    """

    name = "adder"
    summary = "additions in place of multiplications: for hardware on which those are cheaper"
    formula = "y[o] = -sum over the window of |x - w[o]|"
    cost = "params Ci*Co*k^2; no multiply-adds, 2*Ci*Co*k^2*Ho*Wo additions"
    source = "Chen et al. 2020, arXiv 1912.13200"
    when = (
        "Targets whose additions cost far less than multiplications; never to meet a FLOPs "
        "budget. Needs long training."
    )
    saves = False

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv)
        self.weight = nn.Parameter(torch.empty_like(conv.weight))
        self.bias = None if conv.bias is None else nn.Parameter(torch.empty_like(conv.bias))
        self.reset_parameters()
        self.stride, self.dilation = pair(conv.stride), pair(conv.dilation)
        self.pads, self.mode = pads_of(conv), pad_mode(conv)

    def reset_parameters(self) -> None:
        """Weights from N(0, 1), as the paper draws them; no bias."""
        nn.init.normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    @classmethod
    def refusals(cls, network: fx.GraphModule, block: Block, **hyper: HyperValue) -> dict[str, str]:
        norms = {
            str(node.all_input_nodes[0].target)
            for node in network.graph.nodes
            if node.op == "call_module"
            and isinstance(network.get_submodule(str(node.target)), _BatchNorm)
        }
        bare = {name: "no batch norm follows it" for name in block.convs if name not in norms}
        return bare | super().refusals(network, block, **hyper)

    def additions(self, output: Tensor) -> int:
        """Two for each weight and position of `output` [1, Co, Ho, Wo]."""
        return 2 * self.weight.numel() * output[0, 0].numel()

    def _imitate(self, conv: nn.Conv2d, inputs: Tensor | None) -> None:
        kernel = conv.weight.flatten(1)  # [Co, K]
        if inputs is None:
            low, high = torch.full_like(kernel[0], -_REACH), torch.full_like(kernel[0], _REACH)
        else:
            seen = patches(conv, inputs).sort(0).values  # [Q, K]
            most = len(seen) - 1
            low, high = seen[round(_TAIL * most)], seen[round((1 - _TAIL) * most)]
        self.weight.copy_(torch.where(kernel > 0, high, low).view_as(self.weight))
        if conv.bias is not None and self.bias is not None:
            self.bias.copy_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, self.pads, mode=self.mode) if any(self.pads) else x
        geometry = self.stride, self.dilation
        if torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export():
            out = _by_taps(x, self.weight, *geometry)
        else:
            with torch.autocast(x.device.type, enabled=False):
                out = _Adding.apply(x.to(self.weight.dtype), self.weight, *geometry)
        return out if self.bias is None else out + self.bias[:, None, None]


class _Adding(torch.autograd.Function):
    """The layer on a padded input, a few images at a time: nothing of the size of filters times
    window times positions is ever there.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Pair, dilation: Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.dilation = stride, dilation
        filters = weight.flatten(1)
        outputs = []
        for images in _few(x, weight, stride, dilation):
            columns = F.unfold(images, weight.shape[2:], dilation=dilation, stride=stride)
            seen = columns.transpose(1, 2).reshape(-1, columns.shape[1])  # [Q, K]
            found = -torch.cdist(seen, filters, p=1)
            outputs.append(found.view(len(images), -1, len(filters)).transpose(1, 2))
        size = _size(x, weight, stride, dilation)
        return torch.cat(outputs).view(len(x), len(filters), *size)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        (gradient,) = gradients
        filters = weight.flatten(1)
        of_filters, of_x = torch.zeros_like(filters), torch.empty_like(x)
        first = 0
        for images in _few(x, weight, ctx.stride, ctx.dilation):
            given = gradient[first : first + len(images)].flatten(2)  # [n, Co, L]
            columns = F.unfold(images, weight.shape[2:], dilation=ctx.dilation, stride=ctx.stride)
            # sum over positions of g*(x - w): the part with w needs no product of its own.
            of_filters += torch.einsum("nol,nkl->ok", given, columns)
            of_filters -= filters * given.sum((0, 2))[:, None]
            of_columns = torch.zeros_like(columns)  # [n, K, L]
            for number, threshold in enumerate(filters):
                slope = (threshold[:, None] - columns).clamp_(-1, 1)
                of_columns.addcmul_(slope, given[:, number, None])
            of_x[first : first + len(images)] = F.fold(
                of_columns, x.shape[2:], weight.shape[2:], dilation=ctx.dilation, stride=ctx.stride
            )
            first += len(images)
        of_filters *= _ETA * math.sqrt(filters.numel()) / of_filters.norm().clamp_min(_LEAST_NORM)
        return of_x, of_filters.view_as(weight), None, None


def _by_taps(x: Tensor, weight: Tensor, stride: Pair, dilation: Pair) -> Tensor:
    """The same in standard operators, for exports: a tap and some of the filters at a time."""
    height, width = _size(x, weight, stride, dilation)
    outputs, at_once = [], max(1, _MOST_PAIRS // weight.shape[1])
    for first in range(0, len(weight), at_once):
        filters, out = weight[first : first + at_once], x.new_zeros(())
        for row in range(weight.shape[2]):
            for column in range(weight.shape[3]):
                top, left = row * dilation[0], column * dilation[1]
                seen = x[
                    :, :, top : top + stride[0] * (height - 1) + 1 : stride[0],
                    left : left + stride[1] * (width - 1) + 1 : stride[1],
                ]  # fmt: skip
                tap = filters[:, :, row, column, None, None]  # [filters, Ci, 1, 1]
                out = out - (seen[:, None] - tap).abs().sum(2)
        outputs.append(out)
    return torch.cat(outputs, dim=1)


def _few(x: Tensor, weight: Tensor, stride: Pair, dilation: Pair) -> Iterator[Tensor]:
    height, width = _size(x, weight, stride, dilation)
    at_once = max(1, _MOST_ELEMENTS // (weight[0].numel() * height * width))
    yield from torch.split(x, at_once)


def _size(x: Tensor, weight: Tensor, stride: Pair, dilation: Pair) -> Pair:
    """(Ho, Wo) of a padded input."""
    height, width = (
        (size - step * (kernel - 1) - 1) // pace + 1
        for size, kernel, pace, step in zip(
            x.shape[2:], weight.shape[2:], stride, dilation, strict=True
        )
    )
    return height, width
