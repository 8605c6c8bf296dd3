"""The contract of a distillation method: which named loss terms one batch gives."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from torch import Tensor

from pareconv.search.answers import Answer
from pareconv.search.spec import Distill


@dataclass(frozen=True, slots=True)
class Parameter:
    """One hyper-parameter of a method, as the job spec holds it."""

    name: str
    default: float
    low: float
    high: float
    description: str


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one training batch of B images shows: the student's answer and labels [B].

    The teacher's is there when the method asks for it (`needs_teacher`), without a gradient; both
    have features when it asks for those (`needs_features`).
    """

    student: Answer
    labels: Tensor
    teacher: Answer | None = None


class Method(ABC):
    """How a student is taught. The training loop sums the terms and knows no method by name."""

    name: ClassVar[str]
    summary: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    needs_teacher: ClassVar[bool] = True
    needs_features: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def from_spec(cls, spec: Distill) -> Self:
        """The method with the hyper-parameters of the spec."""

    @abstractmethod
    def terms(self, lesson: Lesson) -> dict[str, Tensor]:
        """Named scalar losses, each averaged over the batch; their sum is minimised."""

    @classmethod
    def describe(cls) -> dict[str, Any]:
        """What `GET /methods` shows of it."""
        return {
            "name": cls.name,
            "summary": cls.summary,
            "formula": cls.formula,
            "source": cls.source,
            "parameters": [
                {
                    "name": parameter.name,
                    "default": parameter.default,
                    "low": parameter.low,
                    "high": parameter.high,
                    "description": parameter.description,
                }
                for parameter in cls.parameters
            ],
        }
