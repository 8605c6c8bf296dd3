"""The contract of a distillation method: what it may be told, and the course that it makes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from pareconv.search.distillation.course import Course, Setting
from pareconv.search.spec import ParameterValue


@dataclass(frozen=True, slots=True)
class Parameter:
    """One hyper-parameter of a method, a number between `low` and `high`."""

    name: str
    default: float
    low: float
    high: float
    description: str

    def refusal(self, value: ParameterValue) -> str | None:
        """Why it cannot be that value; None if it can."""
        if isinstance(value, bool | str):
            return f"{value!r} is no number; give one from {self.low} to {self.high}"
        if not self.low <= value <= self.high:
            return f"{value} is outside {self.low} to {self.high}"
        return None


class Method(ABC):
    """How a student is taught. The training loop knows no method by name: it runs a course.

    A subclass is built from the values of its `parameters`, by name. One that is `online` trains
    other networks along with the student, for which brief trials have no time.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    formula: ClassVar[str]
    cost: ClassVar[str]  # of a training image, beside the student's own
    source: ClassVar[str]
    when: ClassVar[str]  # to use it
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    online: ClassVar[bool] = False

    @classmethod
    def complete(cls, given: Mapping[str, ParameterValue]) -> dict[str, ParameterValue]:
        """The values of all parameters: those that are `given`, and defaults."""
        return {each.name: given.get(each.name, each.default) for each in cls.parameters}

    @classmethod
    def of(cls, given: Mapping[str, ParameterValue]) -> Self:
        """The method with these hyper-parameters and the defaults of all others."""
        return cls(**cls.complete(given))

    @classmethod
    def refusal(cls, name: str, value: ParameterValue) -> str | None:
        """Why the parameter of that name cannot be that value; None if it can."""
        known = {each.name: each for each in cls.parameters}
        if name not in known:
            return f"{cls.name} has no parameter {name!r}; it has: {', '.join(known) or 'none'}"
        return known[name].refusal(value)

    @abstractmethod
    def course(self, setting: Setting) -> Course:
        """What happens in one training."""

    @classmethod
    def describe(cls) -> dict[str, Any]:
        """What `GET /methods` shows of it."""
        texts = "name", "summary", "formula", "cost", "source", "when"
        return {text: getattr(cls, text) for text in texts} | {
            "parameters": [asdict(parameter) for parameter in cls.parameters]
        }
