"""Plain methods: one student, and at most a trained teacher that is only looked at."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from pareconv.search.answers import Answer, Listener
from pareconv.search.distillation.base import Method
from pareconv.search.distillation.course import Batch, Course
from pareconv.search.distillation.setting import Setting


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one training batch of B images shows: the student's answer and labels [B].

    The teacher's is there when the method asks for it (`needs_teacher`), without a gradient; both
    have features when it asks for those (`needs_features`).
    """

    student: Answer
    labels: Tensor
    teacher: Answer | None = None


class PlainMethod(Method):
    """A method that is its loss. The teacher answers each view once for all students."""

    needs_teacher: ClassVar[bool] = True
    needs_features: ClassVar[bool] = False

    @abstractmethod
    def terms(self, lesson: Lesson) -> dict[str, Tensor]:
        """Named scalar losses, each averaged over the batch; their sum is minimised."""

    def course(self, setting: Setting) -> Course:
        return _PlainCourse(self, setting)


class _PlainCourse(Course):
    def __init__(self, method: PlainMethod, setting: Setting) -> None:
        super().__init__([setting.student])
        answers = setting.answers
        self._method = method
        self._answers = answers if method.needs_teacher else None
        taps = answers.taps if answers and method.needs_features else ()
        self._listener = Listener(setting.student, taps)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        shown = self._answers(batch.numbers, batch.images) if self._answers else None
        return self._method.terms(Lesson(self._listener(batch.images), batch.labels, shown))
