"""Attention transfer: the student looks where the teacher looks."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pareconv.search.distillation.base import Parameter
from pareconv.search.distillation.kd import LogitDistillation
from pareconv.search.distillation.plain import Lesson, PlainMethod


@dataclass(frozen=True)
class AttentionTransfer(PlainMethod):
    """The terms of `kd`, and beta times the squared distance of attention maps, averaged over their
    pixels and summed over the stages (for other than three of them three times the mean).

    The map of a stage is the mean square over its channels, scaled to length 1 for each image, f
    the output of the last block of each resolution (Zagoruyko and Komodakis 2017, arXiv 1612.03928;
    the mean over pixels and the factor as in the code of Moonshine, Crowley et al. 2018, which
    leaves the term of the logits out: alpha 0).
    """

    name = "attention"
    summary = "matches where the stages look, whatever the single channels hold"
    formula = "kd + beta * 3 * mean_l mean |Q_s,l - Q_t,l|^2, Q = mean_c f_c^2 scaled to length 1"
    cost = "a forward pass of the teacher, once for each view"
    source = "Zagoruyko and Komodakis 2017, arXiv 1612.03928; Crowley et al. 2018 (Moonshine)"
    when = "Students far from their teacher, whose channels mean something else."
    parameters = (
        *LogitDistillation.parameters,
        Parameter("beta", 1000.0, 0.0, 1e6, "weight of the attention maps"),
    )
    needs_features = True

    temperature: float
    alpha: float
    beta: float

    def terms(self, lesson: Lesson) -> dict[str, Tensor]:
        assert lesson.teacher is not None  # needs_teacher
        pairs = zip(lesson.student.features, lesson.teacher.features, strict=True)
        apart = [(_map(own) - _map(shown)).square().mean() for own, shown in pairs]
        return {
            **LogitDistillation(self.temperature, self.alpha).terms(lesson),
            "attention": self.beta * 3 * torch.stack(apart).mean(),
        }


def _map(features: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, H*W], each image's of length 1."""
    return F.normalize(features.float().square().mean(1).flatten(1))
