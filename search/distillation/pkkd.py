"""Kernel-based progressive distillation: adder layers learn from convolutions, by kernels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from pareconv.models.convolutions.adder import Adder
from pareconv.search.answers import Answer, Listener
from pareconv.search.distillation.base import OnlineMethod, Parameter
from pareconv.search.distillation.course import Batch, Course
from pareconv.search.distillation.divergence import softened
from pareconv.search.distillation.setting import Setting

_MOST = 5.0  # of an exponent
_NEW = 0.1  # share of the newest batch in what outputs are measured by
_LEAST = 1e-6


@dataclass(frozen=True)
class KernelDistillation(OnlineMethod):
    """CE(z_a, y) + alpha * T^2 * KL(p_c || p_a) + beta * mean_m MSE(rho(g_m), rho(h_m)) for the
    student, CE(z_c, y) alone for its teacher: a network of standard convolutions, trained along
    from random weights, which gets no gradient from the student.

    At every adder layer m of the student g = exp(-|x - f| / (2 sigma_a^2)) of its output, and h =
    exp((x * f) / (2 sigma_c^2)) of the convolution in its place in the teacher. rho is a 1x1
    convolution of its own for each, and a batch norm without weights, lest both shrink to nothing;
    they serve the training alone. A student without adder layers learns from the logits.

    Xu et al. 2020, arXiv 2009.13044. Of it the abstract could be read: the teacher trained along,
    two kernels, and a linear transformation after them. The kernels are recalled, not read; alpha,
    beta, T, sigma and the choice of layers were not to be found. Here 2 sigma^2 is the mean size of
    the layer's outputs, averaged over recent batches, and exponents end at 5, lest a few positions
    of the convolution outweigh all others.
    """

    name = "pkkd"
    summary = "adder layers learn from the convolutions of a network trained along, by kernels"
    formula = "CE(z_a) + alpha T^2 KL(p_c || p_a) + beta mean_m MSE(rho(g_m), rho(h_m)); CE(z_c)"
    cost = "the training of a network like the teacher, and two 1x1 convolutions per adder layer"
    source = "Xu et al. 2020, arXiv 2009.13044 (abstract; the kernels are recalled)"
    when = "Students of adder layers, in long trainings."
    parameters = (
        Parameter("temperature", 4.0, 0.01, 100.0, "T: softens the logits of both"),
        Parameter("alpha", 1.0, 0.0, 100.0, "weight of the teacher's logits; the labels have 1"),
        Parameter("beta", 1.0, 0.0, 1e6, "weight of the layers"),
    )

    temperature: float
    alpha: float
    beta: float

    def course(self, setting: Setting) -> Course:
        return _KernelCourse(self, setting)


class _KernelCourse(Course):
    def __init__(self, method: KernelDistillation, setting: Setting) -> None:
        super().__init__([setting.student, setting.standard()])
        self._method = method
        student, teacher = self.networks
        adders = [
            str(node.target)
            for node in student.graph.nodes
            if node.op == "call_module" and isinstance(student.get_submodule(node.target), Adder)
        ]
        self._student = Listener(student, _nodes(student, adders))
        self._teacher = Listener(teacher, _nodes(teacher, adders))
        with torch.no_grad():
            seen = self._student(setting.sample).features
        with setting.chance("kernels"):
            # Of the adder layer and of the convolution in its place.
            self.kernels = [(_Kernel(layer), _Kernel(layer)) for layer in seen]

    @property
    def extras(self) -> Sequence[nn.Module]:
        return [kernel for pair in self.kernels for kernel in pair]

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        own, shown = self._student(batch.images), self._teacher(batch.images)
        target = shown.logits.detach()
        terms = {
            "labels": F.cross_entropy(own.logits, batch.labels),
            "teacher": self._method.alpha * softened(own.logits, target, self._method.temperature),
            "teacher_labels": F.cross_entropy(shown.logits, batch.labels),
        }
        if self.kernels:
            terms["layers"] = self._method.beta * self._apart(own, shown)
        return terms

    def _apart(self, own: Answer, shown: Answer) -> Tensor:
        apart = [
            F.mse_loss(adder(added.float()), conv(convolved.detach().float()))
            for (adder, conv), added, convolved in zip(
                self.kernels, own.features, shown.features, strict=True
            )
        ]
        return torch.stack(apart).mean()


class _Kernel(nn.Module):
    """rho(exp(x / (2 sigma^2))) of the outputs x [B, C, H, W] of a layer as wide as a sample."""

    def __init__(self, sample: Tensor) -> None:
        super().__init__()
        channels, device = sample.shape[1], sample.device
        self.linear = nn.Conv2d(channels, channels, 1, bias=False, device=device)
        self.norm = nn.BatchNorm2d(channels, affine=False, device=device)
        self.width: Tensor | None = None  # 2 sigma^2

    def forward(self, x: Tensor) -> Tensor:
        size = x.detach().abs().mean()
        self.width = size if self.width is None else torch.lerp(self.width, size, _NEW)
        exponent = (x / self.width.clamp_min(_LEAST)).clamp_max(_MOST)
        out: Tensor = self.norm(self.linear(exponent.exp()))
        return out


def _nodes(network: fx.GraphModule, modules: Sequence[str]) -> list[str]:
    """Those that call these modules, in that order."""
    called = {str(node.target): str(node.name) for node in network.graph.nodes}
    return [called[module] for module in modules]
