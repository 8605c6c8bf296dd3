"""Tucker-2: a kernel with both of its channel dimensions compressed."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pareconv.models.convolutions.base import CheapConv
from pareconv.models.convolutions.fitting import fit_conv, leading, roots
from pareconv.models.convolutions.geometry import spatial_like
from pareconv.models.convolutions.operator import Hyper
from pareconv.models.plan import HyperValue


class Tucker(CheapConv):
    """x -> 1x1 Ci -> R1 -> k x k R1 -> R2 (stride, dilation, padding here) -> 1x1 R2 -> Co (bias);
    R1 = a*Ci and R2 = a*Co, both rounded down.

    The share a is chosen so that `ratio` of the parameters remain. Start: the leading directions of
    the kernel along its inputs and its outputs, and the core between them (HOSVD, De Lathauwer et
    al. 2000; for convolutions Kim et al. 2016, arXiv 1511.06530); where inputs are given, weighted
    by them, and by least squares.
    """

    name = "tucker"
    summary = "1x1, narrow k x k, 1x1 without anything between: low rank in the channels"
    formula = "1x1 Ci -> R1, k x k R1 -> R2, 1x1 R2 -> Co"
    cost = "params Ci*R1 + R1*R2*k^2 + R2*Co; multiply-adds Ci*R1*H*W + (R1*R2*k^2 + R2*Co)*Ho*Wo"
    source = "Kim et al. 2016, arXiv 1511.06530"
    when = "Wide layers and large kernels, where two small 1x1 cost little beside the core."
    hyper = (Hyper("ratio", 0.01, 1.0, (0.125, 0.25, 0.5), "share of the parameters that remains"),)

    def __init__(self, conv: nn.Conv2d, *, ratio: float) -> None:
        super().__init__(conv)
        into, out = _ranks(conv, ratio)
        self.down = nn.Conv2d(conv.in_channels, into, 1, bias=False)
        self.spatial = spatial_like(conv, into, out)
        self.up = nn.Conv2d(out, conv.out_channels, 1, bias=conv.bias is not None)

    @classmethod
    def _refusal(cls, conv: nn.Conv2d, **hyper: HyperValue) -> str | None:
        return "1x1: its low rank is svd's" if conv.kernel_size == (1, 1) else None

    def _imitate(self, conv: nn.Conv2d, inputs: Tensor | None) -> None:
        into, core, out = factors(conv, self.down.out_channels, self.spatial.out_channels, inputs)
        self.down.weight.copy_(into[:, :, None, None])
        self.spatial.weight.copy_(core)
        self.up.weight.copy_(out[:, :, None, None])
        if conv.bias is not None and self.up.bias is not None:
            self.up.bias.copy_(conv.bias)
        if inputs is not None:
            fit_conv(self.up, self.spatial(self.down(inputs)), conv(inputs))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.up(self.spatial(self.down(x)))
        return out


def factors(
    conv: nn.Conv2d, into_rank: int, out_rank: int, inputs: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """into [R1, Ci], core [R2, R1, k, k] and out [Co, R2] whose product is close to the kernel of
    `conv`, or where `inputs` are given to its function on them.

    Without inputs these are the leading directions (HOSVD). With them the inputs are whitened
    first, and core and out are the reduced-rank regression of the outputs on what `into` leaves.
    """
    weight = conv.weight.float()
    if inputs is None:
        into = leading(weight.transpose(0, 1).flatten(1), into_rank)  # [Ci, R1]
        out = leading(weight.flatten(1), out_rank)  # [Co, R2]
        return into.T, torch.einsum("oihw,or,is->rshw", weight, out, into), out
    root, inverse = roots(inputs.permute(0, 2, 3, 1).flatten(0, 2))
    root, inverse = root.to(weight.dtype), inverse.to(weight.dtype)
    directions = leading(
        torch.einsum("oihw,ij->johw", weight, root).flatten(1), into_rank
    )  # [Ci, R1]
    into = directions.T @ inverse
    seen = F.conv2d(inputs.float(), into[:, :, None, None])
    wide = spatial_like(conv, into_rank, conv.out_channels).to(seen)
    wide.weight.copy_(torch.einsum("oihw,is->oshw", weight, root @ directions))
    fit_conv(wide, seen, conv(inputs).float())
    given = wide(seen).transpose(0, 1).flatten(1)  # [Co, Q]
    out = leading(given - given.mean(1, keepdim=True), out_rank)
    return into, torch.einsum("oshw,or->rshw", wide.weight, out), out


def _ranks(conv: nn.Conv2d, ratio: float) -> tuple[int, int]:
    """The positive root of a^2*Ci*Co*k^2 + a*(Ci^2 + Co^2) = ratio*Ci*Co*k^2, as two ranks."""
    whole = conv.weight.numel()
    ends = conv.in_channels**2 + conv.out_channels**2
    share = (math.sqrt(ends**2 + 4 * whole * ratio * whole) - ends) / (2 * whole)
    return max(1, int(share * conv.in_channels)), max(1, int(share * conv.out_channels))
