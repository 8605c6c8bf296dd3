"""The history of a search: its candidates, as the coordinator that alone writes them knows them."""

from collections import Counter
from collections.abc import Sequence

from pareconv.models.cost_table import Cost, Quantity
from pareconv.models.plan import Plan
from pareconv.search.costs import cost_of
from pareconv.search.rungs import Bars, Rung
from pareconv.search.staircase import Staircase
from pareconv.search.stretch import Stretch
from pareconv.storage.candidate_states import CandidateState
from pareconv.storage.candidates import Candidate

# How the reason of a candidate begins whose plan is tried again: always when its worker was
# stopped, once when its own process died, which may have been its fault.
STOPPED = "stopped: "
DIED = "its process died: "

LEFT = f"{STOPPED}its worker went away"

MEASURED = (CandidateState.COMPLETE, CandidateState.STOPPED)


class History:
    """Counts along as candidates come and change: no question takes longer the more there are.

    `stretch` tells which of them were there before the search that asks; `objective` is the cost
    of the front.
    """

    def __init__(self, stretch: Stretch, objective: Quantity) -> None:
        self.tried: set[Plan] = set()
        self._stretch, self._objective = stretch, objective
        self._candidates: list[Candidate] = []
        self._plans: list[Plan] = []
        self._running: dict[int, Candidate] = {}
        self._before: set[Plan] = set()
        self._new_ended: set[Plan] = set()
        self._interrupted: dict[int, Candidate] = {}
        self._deaths: Counter[Plan] = Counter()
        self._seconds = 0.0
        self._again = 0  # evaluations beyond those that this stretch expects
        self._bars = Bars()
        self._front: Staircase[int] | None = Staircase()

    def put(self, candidate: Candidate) -> None:
        """Add the candidate of the next number, or put one in the place of what it was."""
        former = self._candidates[candidate.number] if candidate.number < len(self) else None
        if former is None:
            assert candidate.number == len(self)
            self._add(candidate)
        else:
            self._candidates[candidate.number] = candidate
        self._count(candidate, 1)
        if former is not None:
            self._count(former, -1)
        was_ended = former is not None and former.finished_at is not None
        if candidate.finished_at is None:
            self._running[candidate.number] = candidate
        elif not was_ended:
            self._end(candidate)
        elif former is not None and former.accuracy != candidate.accuracy:
            self._front = None  # to be drawn anew

    def __len__(self) -> int:
        return len(self._candidates)

    @property
    def candidates(self) -> Sequence[Candidate]:
        """All of them by number."""
        return self._candidates

    @property
    def running(self) -> list[Candidate]:
        return list(self._running.values())

    @property
    def new_plans(self) -> int:
        """How many plans were tried, or are being tried, that were not before this stretch."""
        return len(self.tried) - len(self._before)

    @property
    def new_ended(self) -> int:
        """How many of these plans have ended in whatever way."""
        return len(self._new_ended)

    @property
    def seconds(self) -> float:
        """What candidates took in this stretch, further evaluations included, so that an
        interruption does not start its time anew.
        """
        return self._seconds - self._stretch.seconds

    @property
    def is_averaging(self) -> bool:
        """Whether it has come to evaluating again what it found."""
        return self._again > self._stretch.evaluations

    @property
    def to_repeat(self) -> Candidate | None:
        """The first candidate that was interrupted and not repeated yet."""
        waiting = (
            number for number in sorted(self._interrupted) if self._deaths[self._plans[number]] < 2
        )
        number = next(waiting, None)
        return None if number is None else self._candidates[number]

    @property
    def reasons(self) -> list[str]:
        return [each.reason for each in self._candidates if each.reason]

    def front(self) -> list[Candidate]:
        """The Pareto set of the complete candidates, cheapest first, as the store has it."""
        if self._front is None:
            self._front = Staircase()
            for each in self._candidates:
                self._draw(self._front, each)
        return [self._candidates[number] for number in self._front.items()]

    def bar(self, cost: Cost) -> list[Rung]:
        """The best rungs of those tried that cost no more."""
        most = cost.quantity(self._objective)
        return self._bars.at(most)

    def plans_since(self, number: int, most: int) -> int:
        """How many plans ended among the candidates after `number`, counted up to `most`."""
        found: set[Plan] = set()
        for later in range(number + 1, len(self)):
            if later not in self._running:
                found.add(self._plans[later])
            if len(found) == most:
                break
        return len(found)

    def _add(self, candidate: Candidate) -> None:
        plan = Plan.from_json(candidate.plan)
        self._candidates.append(candidate)
        self._plans.append(plan)
        self.tried.add(plan)
        if candidate.number < self._stretch.candidates:
            self._before.add(plan)
        if candidate.retry_of is not None:
            self._interrupted.pop(candidate.retry_of, None)

    def _count(self, candidate: Candidate, sign: int) -> None:
        if candidate.number < self._stretch.candidates:
            self._again += sign * candidate.evaluations
            self._seconds += sign * (candidate.seconds or 0.0)
        else:
            self._again += sign * max(0, candidate.evaluations - 1)
            self._seconds += sign * _seconds(candidate)

    def _end(self, candidate: Candidate) -> None:
        plan, reason = self._plans[candidate.number], candidate.reason or ""
        self._running.pop(candidate.number, None)
        if plan not in self._before:
            self._new_ended.add(plan)
        if reason.startswith(DIED):
            self._deaths[plan] += 1
        if reason.startswith((STOPPED, DIED)):
            self._interrupted[candidate.number] = candidate
        if candidate.state in MEASURED:
            rungs = [Rung.from_json(rung) for rung in candidate.rungs]
            self._bars.put(cost_of(candidate).quantity(self._objective), rungs)
        if self._front is not None:
            if self._is_out_of_turn(candidate):
                self._front = None
            else:
                self._draw(self._front, candidate)

    def _is_out_of_turn(self, candidate: Candidate) -> bool:
        """Whether one of a later number ended before, which yields to it where both are equal."""
        assert self._front is not None
        cost = self._cost(candidate)
        rival = None if cost is None else self._front.best(cost)
        return (
            rival is not None
            and rival > candidate.number
            and self._candidates[rival].accuracy == candidate.accuracy
            and self._cost(self._candidates[rival]) == cost
        )

    def _draw(self, front: Staircase[int], candidate: Candidate) -> None:
        cost = self._cost(candidate)
        if candidate.state is CandidateState.COMPLETE and cost is not None:
            assert candidate.accuracy is not None
            front.put(cost, candidate.accuracy, candidate.number)

    def _cost(self, candidate: Candidate) -> float | None:
        if self._objective == "latency_ms" and candidate.latency_ms is None:
            return None
        return cost_of(candidate).quantity(self._objective)


def _seconds(candidate: Candidate) -> float:
    """What it took so far, further evaluations included; nothing where its worker went away, which
    nobody saw.
    """
    if candidate.finished_at is None or candidate.reason == LEFT:
        return 0.0
    lived = (candidate.finished_at - candidate.created_at).total_seconds()
    return max(lived, candidate.seconds or 0.0)
