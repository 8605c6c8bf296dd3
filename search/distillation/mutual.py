"""Mutual learning: the teacher is built along with the student, and each learns from the other."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from pareconv.search.answers import Listener
from pareconv.search.distillation.base import OnlineMethod, Parameter
from pareconv.search.distillation.course import Batch, Course
from pareconv.search.distillation.divergence import softened
from pareconv.search.distillation.setting import Setting


@dataclass(frozen=True)
class MutualLearning(OnlineMethod):
    """CE(z_s, y) + T^2 * KL(p_t || p_s) for the student, CE(z_t, y) + T^2 * KL(p_s || p_t) for the
    teacher, each looking at the other without a gradient.

    The teacher is the network with the standard convolutions, its weights drawn anew: nothing is
    trained before, as the abstract of OD-cheap-convolution has it (Xie et al. 2019, arXiv
    1909.13063; its code has `online_ensemble` instead). The losses are those of deep mutual
    learning (Zhang et al. 2018, arXiv 1706.00384), there with T = 1.
    """

    name = "mutual"
    summary = "a teacher of standard convolutions learns from scratch beside the student, both ways"
    formula = "CE(z_s, y) + T^2 * KL(p_t || p_s); CE(z_t, y) + T^2 * KL(p_s || p_t)"
    cost = "the training of a network like the teacher"
    source = "Xie et al. 2019, arXiv 1909.13063 (abstract); Zhang et al. 2018, arXiv 1706.00384"
    when = "Long trainings where no trained teacher is to be had; a trained one teaches better."
    parameters = (Parameter("temperature", 1.0, 0.01, 100.0, "T: softens the logits of both"),)

    temperature: float

    def course(self, setting: Setting) -> Course:
        return _MutualCourse(setting, self.temperature)


class _MutualCourse(Course):
    def __init__(self, setting: Setting, temperature: float) -> None:
        super().__init__([setting.student, setting.standard()])
        self._student, self._teacher = (Listener(network, ()) for network in self.networks)
        self._temperature = temperature

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        own, other = self._student(batch.images).logits, self._teacher(batch.images).logits
        return {
            "labels": F.cross_entropy(own, batch.labels),
            "teacher": softened(own, other.detach(), self._temperature),
            "teacher_labels": F.cross_entropy(other, batch.labels),
            "student": softened(other, own.detach(), self._temperature),
        }
