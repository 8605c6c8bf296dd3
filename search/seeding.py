"""Seeding: the plans with which a search begins, from what the library predicts."""

from collections import deque
from collections.abc import Iterator
from itertools import zip_longest

from pareconv.models.plan import Plan
from pareconv.search.proposals import Problem
from pareconv.search.solver import Prediction, Solver, predicted_front

_OVERLAP = 0.8  # share of the blocks in which a further solution may agree (Puzzle: 0.8)
_LEAST, _MOST = 8, 64  # plans, as far as there are trials for them; each may take a programme


def solver_plans(problem: Problem, solver: Solver) -> list[Plan]:
    """The best plan of the whole budget; then by turns one that uses it whole and is unlike the
    former ones that do, and one of the predicted front below it, spread evenly.

    Of a long search they take half at most, so that the sampler can correct what the sum of scores
    does not see.
    """
    count = _count(problem)
    spread = _spread(problem, solver, 2 + count // 2)
    if not spread:
        return []
    plans = [spread[0].plan]
    for other, cheaper in zip_longest(_unlike(problem, solver, plans[0], count), spread[1:]):
        plans += [each.plan for each in (other, cheaper) if each is not None]
    return list(dict.fromkeys(plans))[:count]


def spread_plans(problem: Problem, solver: Solver) -> list[Plan]:
    """Plans of the whole predicted front, from its middle on by halves: where the accuracy falls
    too low is soon known, wherever that is.
    """
    count = _count(problem)
    front = _spread(problem, solver, 2 + count)
    return [front[place].plan for place in _by_halves(len(front))][:count]


def _by_halves(length: int) -> Iterator[int]:
    """Every place once: the middle, the middles of both halves, and so on."""
    parts = deque([(0, length)])
    while parts:
        start, end = parts.popleft()
        if start < end:
            middle = (start + end) // 2
            yield middle
            parts += [(start, middle), (middle + 1, end)]


def _count(problem: Problem) -> int:
    return min(problem.trials, max(_LEAST, min(problem.trials // 2, _MOST)))


def _spread(problem: Problem, solver: Solver, points: int) -> list[Prediction]:
    # The last is the least that can be reached, which is of use to nobody.
    front = predicted_front(solver, problem.limits, along=problem.objective, points=points)
    return front[:-1] or front


def _unlike(problem: Problem, solver: Solver, best: Plan, count: int) -> Iterator[Prediction]:
    found = [best]
    while len(found) <= count // 2:
        other = solver.best(problem.limits, unlike=found, overlap=_OVERLAP)
        if other is None:
            return
        found.append(other.plan)
        if other.plan:
            yield other
