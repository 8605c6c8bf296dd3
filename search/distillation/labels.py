"""Labels alone: no teacher.

How a teacher without weights is trained, and the baseline of every method.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from pareconv.search.distillation.plain import Lesson, PlainMethod


@dataclass(frozen=True)
class Labels(PlainMethod):
    """CE(z_s, y)."""

    name = "labels"
    summary = "cross-entropy with the labels, no teacher: the baseline"
    formula = "CE(z_s, y)"
    cost = "nothing"
    source = "standard"
    when = "As the baseline of all others."
    needs_teacher = False

    def terms(self, lesson: Lesson) -> dict[str, Tensor]:
        return {"labels": F.cross_entropy(lesson.student.logits, lesson.labels)}
