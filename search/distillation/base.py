"""The contract of a distillation method: what it may be told, and the course that it makes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from pareconv.search.distillation.course import Course
from pareconv.search.distillation.setting import Setting
from pareconv.search.spec import ParameterValue


@dataclass(frozen=True, slots=True)
class Parameter:
    """One hyper-parameter of a method, of the kind of its `default`: a number between `low` and
    `high` (whole where these are), true and false, or text, one of `choices` where there are some.
    """

    name: str
    default: ParameterValue
    low: float | None
    high: float | None
    description: str
    choices: tuple[str, ...] = ()

    def refusal(self, value: ParameterValue) -> str | None:
        """Why it cannot be that value; None if it can."""
        if isinstance(self.default, bool):
            return None if isinstance(value, bool) else f"{value!r} is neither true nor false"
        if self.choices:
            known = ", ".join(self.choices)
            return None if value in self.choices else f"{value!r} is none of {known}"
        if isinstance(self.default, str):
            return None if isinstance(value, str) else f"{value!r} is no text"
        assert self.low is not None
        assert self.high is not None
        bounds = f"{self.low} to {self.high}"
        if isinstance(value, bool | str):
            return f"{value!r} is no number; give one from {bounds}"
        if isinstance(self.default, int) and not isinstance(value, int):
            return f"{value} is not whole; give a number from {bounds}"
        return None if self.low <= value <= self.high else f"{value} is outside {bounds}"


class Method(ABC):
    """How a student is taught. The training loop knows no method by name: it runs a course.

    A subclass is built from the values of its `parameters`, by name.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    formula: ClassVar[str]
    cost: ClassVar[str]  # of a training image, beside the student's own
    source: ClassVar[str]
    when: ClassVar[str]  # to use it
    parameters: ClassVar[tuple[Parameter, ...]] = ()

    @property
    def online(self) -> bool:
        """Whether it trains other networks along with the student, for which brief trials have no
        time.
        """
        return False

    @classmethod
    def complete(cls, given: Mapping[str, ParameterValue]) -> dict[str, ParameterValue]:
        """The values of all parameters: those that are `given`, and defaults."""
        return {each.name: given.get(each.name, each.default) for each in cls.parameters}

    @classmethod
    def of(cls, given: Mapping[str, ParameterValue]) -> Self:
        """The method with these hyper-parameters and the defaults of all others."""
        return cls(**cls.complete(given))

    @classmethod
    def refusals(cls, given: Mapping[str, ParameterValue]) -> dict[str, str]:
        """Why parameters cannot be what is `given`, by name; empty if they can."""
        known = {each.name: each for each in cls.parameters}
        reasons: dict[str, str] = {}
        for name, value in given.items():
            if name not in known:
                listed = ", ".join(known) or "none"
                reasons[name] = f"{cls.name} has no parameter {name!r}; it has: {listed}"
            elif reason := known[name].refusal(value):
                reasons[name] = reason
        return reasons

    def misfit(self, image_size: int) -> str | None:
        """Why it cannot teach on images of so many pixels a side; None if it can."""
        return None

    @abstractmethod
    def course(self, setting: Setting) -> Course:
        """What happens in one training."""

    @classmethod
    def describe(cls) -> dict[str, Any]:
        """What `GET /methods` shows of it."""
        texts = "name", "summary", "formula", "cost", "source", "when"
        return {text: getattr(cls, text) for text in texts} | {
            "online": cls.of({}).online,
            "parameters": [asdict(parameter) for parameter in cls.parameters],
        }


class OnlineMethod(Method):
    """A method that trains other networks along with the student."""

    @property
    def online(self) -> bool:
        return True
