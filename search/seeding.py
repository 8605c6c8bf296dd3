"""Seeding: the plans with which a search begins, from what the library predicts."""

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
    count = min(problem.trials, max(_LEAST, min(problem.trials // 2, _MOST)))
    spread = _spread(problem, solver, count)
    if not spread:
        return []
    plans = [spread[0].plan]
    for other, cheaper in zip_longest(_unlike(problem, solver, plans[0], count), spread[1:]):
        plans += [each.plan for each in (other, cheaper) if each is not None]
    return list(dict.fromkeys(plans))[:count]


def _spread(problem: Problem, solver: Solver, count: int) -> list[Prediction]:
    # The last is the least that can be reached, which is of use to nobody.
    points = 2 + count // 2
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
