"""Feature distillation: the student's blocks give what the teacher's give, and so do its logits."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pareconv.search.distillation.base import Parameter
from pareconv.search.distillation.kd import LogitDistillation
from pareconv.search.distillation.plain import Lesson, PlainMethod
from pareconv.search.imitation import relative_error


@dataclass(frozen=True)
class FeatureDistillation(PlainMethod):
    """The terms of `kd`, and beta times the mean over the stages of |f_s - f_t|^2 / |f_t|^2, or of
    1 - cos(f_s, f_t).

    f is the output of the last block of each resolution. A student keeps the shapes of its teacher,
    so that nothing is needed in between (Romero et al. 2015, arXiv 1412.6550, has regressors there;
    both distances are Puzzle's, Bercovich et al. 2024, arXiv 2411.19146, the first of its blocks,
    the second of the whole network, there for each token, here for each image).
    """

    name = "features"
    summary = "matches the outputs of the stages as well as the logits; learns fastest"
    formula = "kd + beta * mean_l |f_s,l - f_t,l|^2 / |f_t,l|^2, or 1 - cos(f_s,l, f_t,l)"
    cost = "a forward pass of the teacher, once for each view"
    source = "Romero et al. 2015, arXiv 1412.6550; Bercovich et al. 2024, arXiv 2411.19146"
    when = "The default: a student that keeps its teacher's shapes learns fastest by it."
    parameters = (
        *LogitDistillation.parameters,
        Parameter("beta", 100.0, 0.0, 1e6, "weight of the features"),
        Parameter("distance", "mse", None, None, "of the features of an image", ("mse", "cosine")),
    )
    needs_features = True

    temperature: float
    alpha: float
    beta: float
    distance: str

    def terms(self, lesson: Lesson) -> dict[str, Tensor]:
        assert lesson.teacher is not None  # needs_teacher
        pairs = zip(lesson.student.features, lesson.teacher.features, strict=True)
        apart = {"mse": relative_error, "cosine": _cosine_distance}[self.distance]
        errors = [apart(own.float(), shown.float()).mean() for own, shown in pairs]
        return {
            **LogitDistillation(self.temperature, self.alpha).terms(lesson),
            "features": self.beta * torch.stack(errors).mean(),
        }


def _cosine_distance(own: Tensor, shown: Tensor) -> Tensor:
    """[B], each 0..2, of features [B, C, H, W]."""
    return 1 - F.cosine_similarity(own.flatten(1), shown.flatten(1))
