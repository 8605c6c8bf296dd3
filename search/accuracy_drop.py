"""The accuracy drop: which student is the least costly within so many points of its teacher.

Decided on the validation split alone. Reads no store, knows no torch.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from pareconv.models.cost_table import Quantity
from pareconv.search.costs import cost_of
from pareconv.storage.candidates import Candidate, CandidateState

_ROUNDING = 1e-9  # of a difference of accuracies

# A plan has to save another hundredth to be worth a trial.
_STEP = 0.99


@dataclass(frozen=True, slots=True)
class AccuracyDrop:
    """Within it is who has at least the accuracy `least`: so many percent `points` below the
    teacher's. Of these the one of the least `objective` is looked for.
    """

    points: float
    least: float
    objective: Quantity

    @classmethod
    def of(
        cls, points: float | None, teacher_accuracy: float | None, objective: Quantity
    ) -> Self | None:
        """None where no drop is asked for, or the teacher's accuracy is not known yet."""
        if points is None or teacher_accuracy is None:
            return None
        return cls(points, teacher_accuracy - points / 100, objective)

    def answer(self, finalists: Iterable[Candidate]) -> Candidate | None:
        """The finished student that was asked for; None where none is within the drop."""
        return self._cheapest(each for each in finalists if each.finalist)

    def limit(self, candidates: Iterable[Candidate]) -> float | None:
        """What a plan may cost to be worth a trial: less than whoever is known to be within."""
        complete = (each for each in candidates if each.state is CandidateState.COMPLETE)
        cheapest = self._cheapest(complete)
        return None if cheapest is None else _STEP * self._cost(cheapest)

    def next(self, front: Sequence[Candidate], skipped: Collection[int] = ()) -> Candidate | None:
        """Whom of the front, cheapest first, to finish next; None where nobody is left that could
        be the answer.

        First the cheapest whose brief accuracy is within the drop, or the most accurate; then by
        halves between the cheapest that ended within it and the dearest below that did not.
        """
        line = [each for each in front if each.number not in skipped]
        finished = [place for place, each in enumerate(line) if each.finalist]
        above = min((each for each in finished if self._is_within(line[each])), default=len(line))
        below = max((each for each in finished if each < above), default=-1)
        if above - below <= 1:
            return None
        if not finished:
            return next(filter(self._is_within, line), line[-1])
        return line[(above + below) // 2]

    def told(self, finalists: Sequence[Candidate]) -> str:
        """The answer in words, and the remedy where there is none."""
        asked = (
            f"within the accuracy drop of {self.points:g} (validation at least {self.least:.2%})"
        )
        found = self.answer(finalists)
        if found is not None:
            return (
                f"trial {found.number} is the least costly finished student {asked}: "
                f"validation accuracy {found.finish_accuracy:.2%}"
            )
        if not finalists:
            return f"no student is finished yet that could be {asked}"
        best = max(finalists, key=lambda each: each.finish_accuracy or 0)
        return (
            f"no finished student is {asked}: the nearest is trial {best.number}, with "
            f"{best.finish_accuracy:.2%}; allow a larger budget.accuracy_drop or more "
            "finish.epochs, or extend the search"
        )

    def _cheapest(self, candidates: Iterable[Candidate]) -> Candidate | None:
        within = filter(self._is_within, candidates)
        return min(within, key=lambda each: (self._cost(each), each.number), default=None)

    def _is_within(self, candidate: Candidate) -> bool:
        """As it is finished, where it is; a brief training understates what it can be."""
        known = candidate.finish_accuracy if candidate.finalist else candidate.accuracy
        return known is not None and known >= self.least - _ROUNDING

    def _cost(self, candidate: Candidate) -> float:
        return cost_of(candidate).quantity(self.objective)
