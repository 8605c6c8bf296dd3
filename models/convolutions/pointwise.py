"""Pointwise: the k x k convolution becomes a 1x1."""

from torch import Tensor, nn

from pareconv.models.convolutions.base import CheapConv
from pareconv.models.convolutions.centre import CentreConv
from pareconv.models.convolutions.fitting import fit_conv
from pareconv.models.plan import HyperValue


class Pointwise(CheapConv):
    """x -> 1x1 (stride, bias as in the source).

    Started from the sum of the kernel's taps, which is exact on inputs that do not vary in space,
    then fitted by least squares where inputs are given.
    """

    name = "pointwise"
    summary = "1x1 convolution: cheapest that still mixes channels; sees no neighbours"
    formula = "1x1 Ci -> Co"
    cost = "params Ci*Co; multiply-adds Ci*Co*Ho*Wo"
    source = "Lin et al. 2014, arXiv 1312.4400"
    when = "Layers that hardly look at neighbours, often late ones: a ninth of the cost at 3x3."

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv)
        self.pointwise = CentreConv(conv, bias=conv.bias is not None)

    @classmethod
    def _refusal(cls, conv: nn.Conv2d, **hyper: HyperValue) -> str | None:
        return "already 1x1" if conv.kernel_size == (1, 1) else None

    def _imitate(self, conv: nn.Conv2d, inputs: Tensor | None) -> None:
        self.pointwise.weight.copy_(conv.weight.sum((2, 3), keepdim=True))
        if conv.bias is not None and self.pointwise.bias is not None:
            self.pointwise.bias.copy_(conv.bias)
        if inputs is not None:
            fit_conv(self.pointwise, self.pointwise.centred(inputs), conv(inputs))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pointwise(x)
        return out
