"""Logit distillation: the student matches the teacher's softened class probabilities."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from pareconv.search.distillation.base import Parameter
from pareconv.search.distillation.divergence import softened
from pareconv.search.distillation.plain import Lesson, PlainMethod


@dataclass(frozen=True)
class LogitDistillation(PlainMethod):
    """(1 - alpha) * CE(z_s, y) + alpha * T^2 * KL(softmax(z_t / T) || softmax(z_s / T)).

    KL is summed over classes and averaged over the batch (Hinton et al. 2015, arXiv 1503.02531).
    """

    name = "kd"
    summary = "matches the teacher's softened logits; the plain choice"
    formula = "(1 - alpha) * CE(z_s, y) + alpha * T^2 * KL(p_t(T) || p_s(T))"
    cost = "a forward pass of the teacher, once for each view"
    source = "Hinton et al. 2015, arXiv 1503.02531"
    when = "The plain choice, and where the teacher's features are not to be copied."
    parameters = (
        Parameter("temperature", 2.0, 0.01, 100.0, "T: softens the logits of both"),
        Parameter("alpha", 0.9, 0.0, 1.0, "weight of the teacher; the labels get 1 - alpha"),
    )

    temperature: float
    alpha: float

    def terms(self, lesson: Lesson) -> dict[str, Tensor]:
        assert lesson.teacher is not None  # needs_teacher
        logits = lesson.student.logits
        divergence = softened(logits, lesson.teacher.logits, self.temperature)
        return {
            "labels": (1 - self.alpha) * F.cross_entropy(logits, lesson.labels),
            "teacher": self.alpha * divergence,
        }
