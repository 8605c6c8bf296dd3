"""A stretch of a search: all that a job asked for at first, or what an extension added to it."""

from dataclasses import dataclass
from typing import Any, Self

from pareconv.search.spec import Search


@dataclass(frozen=True, slots=True)
class Stretch:
    """So many plans, in so much time, beyond what was there before it: that many `candidates`, and
    the `evaluations` and `seconds` that these had taken, and how many were `finalists`.
    """

    trials: int
    time_limit_s: float | None
    candidates: int = 0
    evaluations: int = 0
    seconds: float = 0.0
    finalists: int = 0

    @classmethod
    def of(cls, search: Search, extension: dict[str, Any] | None) -> Self:
        """The last one: that of the extension where there is one."""
        return cls(**extension) if extension else cls(search.trials, search.time_limit_s)
