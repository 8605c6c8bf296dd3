"""HetConv: every filter has full kernels on a part of its inputs and 1x1 kernels on the rest."""

from torch import Tensor, nn

from pareconv.models.convolutions.base import CheapConv
from pareconv.models.convolutions.centre import CentreConv
from pareconv.models.convolutions.fitting import fit_conv
from pareconv.models.convolutions.geometry import spatial_like
from pareconv.models.convolutions.operator import Hyper
from pareconv.models.plan import HyperValue


class HetConv(CheapConv):
    """x -> [k x k group convolution with g = parts] + [full 1x1] -> sum (bias in the 1x1).

    The fast form: the 1x1 covers all inputs, so that both halves are library convolutions (Singh et
    al. 2019, arXiv 1903.04120, has 1x1 kernels on the other inputs alone). Start: the group
    convolution takes the kernel's own diagonal blocks, the 1x1 the summed taps of the rest.
    """

    name = "hetconv"
    summary = "grouped k x k plus full 1x1, summed: a strong drop-in at 1/parts + 1/k^2 of the cost"
    formula = "k x k in P groups + full 1x1, summed"
    cost = "params Ci*Co*(k^2/parts + 1); multiply-adds the same times Ho*Wo"
    source = "Singh et al. 2019, arXiv 1903.04120, in its fast form"
    when = "A third of the cost without training for long: a strong drop-in at large widths."
    hyper = (Hyper("parts", 2, 4096, (2, 4, 8), "groups of the k x k half; divides Ci and Co"),)

    def __init__(self, conv: nn.Conv2d, *, parts: int) -> None:
        super().__init__(conv)
        self.spatial = spatial_like(conv, conv.in_channels, conv.out_channels, groups=parts)
        self.pointwise = CentreConv(conv, bias=conv.bias is not None)

    @classmethod
    def _refusal(cls, conv: nn.Conv2d, **hyper: HyperValue) -> str | None:
        if conv.kernel_size == (1, 1):
            return "1x1: has no spatial part to split"
        for what, channels in (("input", conv.in_channels), ("output", conv.out_channels)):
            if channels % int(hyper["parts"]):
                return f"parts={hyper['parts']} does not divide the {channels} {what} channels"
        return None

    def _imitate(self, conv: nn.Conv2d, inputs: Tensor | None) -> None:
        parts = self.spatial.groups
        taps = conv.weight.sum((2, 3), keepdim=True).clone()
        rows, columns = conv.out_channels // parts, conv.in_channels // parts
        for part in range(parts):
            block = (
                slice(part * rows, (part + 1) * rows),
                slice(part * columns, (part + 1) * columns),
            )
            self.spatial.weight[block[0]] = conv.weight[block]
            taps[block] = 0
        self.pointwise.weight.copy_(taps)
        if conv.bias is not None and self.pointwise.bias is not None:
            self.pointwise.bias.copy_(conv.bias)
        if inputs is not None:
            rest = conv(inputs) - self.spatial(inputs)
            fit_conv(self.pointwise, self.pointwise.centred(inputs), rest)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.spatial(x) + self.pointwise(x)
        return out
