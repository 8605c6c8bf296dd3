"""The contested members of a front, which are evaluated again: accuracies apart by noise alone."""

from pareconv.search.flights import Flights
from pareconv.search.history import History
from pareconv.storage.candidates import Candidate


class Contested:
    """Each is evaluated again up to `repeats` times, unless that fails."""

    def __init__(self, history: History, repeats: int) -> None:
        self._history, self._repeats = history, repeats
        self._given_up: set[int] = set()

    def next(self, in_flight: Flights[int]) -> Candidate | None:
        """Whom to evaluate next, the one evaluated least often first; None where none is left."""
        waiting = [each for each in self._members() if each.number not in in_flight]
        return min(waiting, key=lambda each: (each.evaluations, each.number), default=None)

    def give_up(self, number: int) -> None:
        """It could not be evaluated again."""
        self._given_up.add(number)

    @property
    def evaluations_left(self) -> int:
        """How many there are to come as far as is known: each may settle who is contested."""
        return sum(self._repeats + 1 - each.evaluations for each in self._members())

    def _members(self) -> list[Candidate]:
        front = self._history.front()
        return [
            each
            for each in front
            if each.evaluations <= self._repeats
            and each.number not in self._given_up
            and any(other is not each and _are_within_noise(each, other) for other in front)
        ]


def _are_within_noise(one: Candidate, other: Candidate) -> bool:
    """Both are measured on the same images, so that their binomial errors overstate the noise of
    the difference: one standard error of one of them is taken for it.
    """
    assert one.accuracy is not None
    assert other.accuracy is not None
    noise = max(one.accuracy_stderr or 0, other.accuracy_stderr or 0)
    return abs(one.accuracy - other.accuracy) <= noise
