"""A stretch of a search: all that a job asked for at first, or what an extension added to it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pareconv.models.plan import Plan
from pareconv.search.spec import Search
from pareconv.storage.candidates import Candidate


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

    def before(self, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        return candidates[: self.candidates]

    def since(self, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        return candidates[self.candidates :]

    def new(self, plans: Iterable[Plan], candidates: Sequence[Candidate]) -> set[Plan]:
        """Those of the plans that were not tried before."""
        return set(plans) - {Plan.from_json(each.plan) for each in self.before(candidates)}

    def is_averaging(self, candidates: Sequence[Candidate]) -> bool:
        """Whether it has come to evaluating again what it found."""
        evaluated = sum(each.evaluations for each in self.before(candidates))
        return evaluated > self.evaluations or any(
            each.evaluations > 1 for each in self.since(candidates)
        )
