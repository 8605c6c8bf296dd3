"""Balanced distillation: of a teacher that saw few images of some classes, those weigh more."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from pareconv.search.answers import Listener
from pareconv.search.distillation.base import Method, Parameter
from pareconv.search.distillation.course import Batch, Course
from pareconv.search.distillation.setting import Setting


@dataclass(frozen=True)
class BalancedDistillation(Method):
    """CE(z_s, y) + alpha * T^2 * KL(q || p_s(T)), q = w * p_t(T) / sum(w * p_t(T)).

    The weight of a class with n training images is (1 - b) / (1 - b^n), by its effective number,
    scaled so that the weights of all K classes sum to K; the labels' own term is not weighted
    (Zhang et al. 2023, arXiv 2104.10510, in the authors' code). Until the share `deferred` of the
    training is done the weights are all 1: 0.8 in that code for CIFAR-10, 0 for CIFAR-100.
    """

    name = "balanced"
    summary = "the teacher's answers re-weighted for rare classes; for long-tailed data"
    formula = (
        "CE(z_s, y) + alpha * T^2 * KL(w * p_t(T) / sum || p_s(T)), w_c = (1 - b) / (1 - b^n_c)"
    )
    cost = "a forward pass of the teacher, once for each view"
    source = "Zhang et al. 2023, arXiv 2104.10510"
    when = "Classes of very different sizes, where the rare ones matter as much."
    parameters = (
        Parameter("temperature", 2.0, 0.01, 100.0, "T: softens the logits of both"),
        Parameter("alpha", 1.0, 0.0, 100.0, "weight of the teacher; the labels have 1"),
        Parameter("b", 0.9999, 0.0, 0.999999, "0 weighs all classes alike, near 1 by 1 / n"),
        Parameter("deferred", 0.0, 0.0, 1.0, "share of the training that goes by before"),
    )

    temperature: float
    alpha: float
    b: float
    deferred: float

    def course(self, setting: Setting) -> Course:
        return _BalancedCourse(self, setting)

    def weights(self, class_counts: Tensor) -> Tensor:
        """Of classes with so many images each [K]; a class without any weighs as one with one."""
        numbers = class_counts.double().clamp_min(1)
        effective = (1 - self.b) / (1 - self.b**numbers)
        return (effective * len(effective) / effective.sum()).float()


class _BalancedCourse(Course):
    def __init__(self, method: BalancedDistillation, setting: Setting) -> None:
        super().__init__([setting.student])
        assert setting.answers is not None
        self._method, self._answers = method, setting.answers
        self._listener = Listener(setting.student, ())
        self._weights = method.weights(setting.class_counts)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        own = self._listener(batch.images).logits
        shown = self._answers(batch.numbers, batch.images).logits
        temperature = self._method.temperature
        target = F.softmax(shown / temperature, dim=1)
        if batch.done >= self._method.deferred:
            target = target * self._weights
            target = target / target.sum(1, keepdim=True)
        learner = F.log_softmax(own / temperature, dim=1)
        divergence = F.kl_div(learner, target, reduction="batchmean")
        return {
            "labels": F.cross_entropy(own, batch.labels),
            "teacher": self._method.alpha * temperature**2 * divergence,
        }
