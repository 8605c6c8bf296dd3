"""Online ensemble: students of one plan, and a head on the features of all as their teacher."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pareconv.search.answers import Listener
from pareconv.search.distillation.base import OnlineMethod, Parameter
from pareconv.search.distillation.course import Batch, Course
from pareconv.search.distillation.divergence import softened
from pareconv.search.distillation.setting import Setting
from pareconv.search.precision import fast


@dataclass(frozen=True)
class OnlineEnsemble(OnlineMethod):
    """CE(a_t, y) + sum over the students of [CE(a_i, y) + T^2 * KL(p_t || p_i)], where a_t is the
    answer of a head on the concatenated last feature maps of all students: FC(GAP(ReLU(BN(Z)))).

    The code of OD-cheap-convolution (Xie et al. 2019, arXiv 1909.13063, main_teacher.py): students
    of the same cheap architecture, no shared layers, the same views; nothing is trained before. Not
    `detached`, the divergence teaches the head too, and through it all students. Its KL averages
    over the classes as well (`mean`), so that on ten classes it weighs a tenth of `batchmean`.

    Here the first student goes on from its trial and is deployed; the others start from random
    weights, as all do there, where the best by test accuracy was reported.
    """

    name = "online_ensemble"
    summary = "several students of the same plan, taught by a head on the features of all of them"
    formula = "CE(a_t, y) + sum_i [CE(a_i, y) + T^2 * KL(p_t || p_i)]"
    cost = "the training of the other students"
    source = "Xie et al. 2019, arXiv 1909.13063 (code)"
    when = "No trained teacher, and compute for several students."
    parameters = (
        Parameter("students", 4, 2, 16, "m: how many, the deployed one included"),
        Parameter("temperature", 4.0, 0.01, 100.0, "T: softens the logits of all"),
        Parameter("detached", False, None, None, "whether the head learns from the labels alone"),
        Parameter(
            "reduction",
            "mean",
            None,
            None,
            "of the KL: over images and classes, or over images alone",
            ("mean", "batchmean"),
        ),
    )

    students: int
    temperature: float
    detached: bool
    reduction: str

    def course(self, setting: Setting) -> Course:
        return _EnsembleCourse(self, setting)


class _EnsembleCourse(Course):
    def __init__(self, method: OnlineEnsemble, setting: Setting) -> None:
        assert setting.answers is not None
        twins = [setting.twin(number) for number in range(1, method.students)]
        super().__init__([setting.student, *twins])
        self._method = method
        self._listeners = [Listener(each, setting.answers.taps[-1:]) for each in self.networks]
        with torch.no_grad():
            channels = self._listeners[0](setting.sample).features[-1].shape[1]
        with setting.chance("head"):
            head = _Head(len(self.networks) * channels, setting.classes)
        self.head = head.to(setting.sample.device)

    @property
    def extras(self) -> list[nn.Module]:
        return [self.head]

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        answers = [listener(batch.images) for listener in self._listeners]
        with fast(batch.images.device):
            logits = self.head(torch.cat([each.features[-1] for each in answers], dim=1))
        ensemble = logits.float()
        shown = ensemble.detach() if self._method.detached else ensemble
        share = 1 / ensemble.shape[1] if self._method.reduction == "mean" else 1.0
        terms = {"head_labels": F.cross_entropy(ensemble, batch.labels)}
        for number, each in enumerate(answers):
            divergence = softened(each.logits, shown, self._method.temperature)
            terms[f"labels_{number}"] = F.cross_entropy(each.logits, batch.labels)
            terms[f"head_{number}"] = share * divergence
        return terms


class _Head(nn.Module):
    """FC(GAP(ReLU(BN(Z)))) of feature maps [B, C, H, W]."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.linear(self.norm(features).relu().mean((2, 3)))
        return out
