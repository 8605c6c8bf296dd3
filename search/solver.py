"""The solver: the plan of the least summed score within limits on its cost, by integer programming.

One option per block, score and costs additive (LANA, Molchanov et al. 2022, arXiv 2107.10624;
Puzzle, Bercovich et al. 2024, arXiv 2411.19146). Plain numbers: knows no torch.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from pareconv.models.cost_table import Cost, CostTable, Quantity
from pareconv.models.plan import KEEP, Option, Plan

# Exact for these sizes; the time only guards against the worst case.
_SECONDS = 10.0

_RANGE, _TINY = 1e3, 1e-12  # of the scores as the solver sees them

# Shares of a limit that are left unused, where a plan was over it by less than the solver's
# tolerance, a millionth.
_MARGINS = (0, 1e-6, 1e-5)


@dataclass(frozen=True)
class Prediction:
    """A plan with its cost and the score that the library predicts: the sum of its parts."""

    plan: Plan
    score: float
    cost: Cost

    def to_json(self) -> dict[str, Any]:
        return {"plan": self.plan.to_json(), "score": self.score} | self.cost.to_json()


class Solver:
    """`scores[block][option]` is what each option adds to the score; `keep` adds nothing."""

    def __init__(self, table: CostTable, scores: Mapping[str, Mapping[Option, float]]) -> None:
        self._table = table
        self._scores = scores
        self._choices = [(block, option) for block in scores for option in (KEEP, *scores[block])]
        self._score = np.array([self._part(block, option) for block, option in self._choices])
        self._changes = {
            name: np.array([table.change(*choice).quantity(name) for choice in self._choices])
            for name in table.teacher.measured
        }
        members = {block: row for row, block in enumerate(scores)}
        self._rows = np.array([members[block] for block, _ in self._choices])
        every = np.arange(len(self._rows))
        self._one_each = LinearConstraint(
            csr_array((np.ones(len(every)), (self._rows, every))), 1, 1
        )

    def reach(self, quantity: Quantity) -> tuple[float, float]:
        """The least cost that a plan of scored options has, and the teacher's."""
        whole = self._table.teacher.quantity(quantity)
        changes = self._changes[quantity]
        least = sum(changes[self._rows == row].min().item() for row in range(len(self._scores)))
        return whole + least, whole

    def predict(self, plan: Plan) -> float | None:
        """The score of any plan; None where one of its options has none."""
        parts = [self._scores.get(block, {}).get(option) for block, option in plan.items()]
        return None if None in parts else float(sum(filter(None, parts)))

    def best(
        self,
        limits: Mapping[Quantity, float],
        *,
        unlike: Sequence[Plan] = (),
        overlap: float = 1.0,
    ) -> Prediction | None:
        """The plan with the least score within all `limits`; None if there is none.

        It shares at most `overlap` of its blocks' choices with each plan of `unlike`.
        """
        most = int(np.floor(overlap * len(self._scores)))
        apart = [self._share(plan, most) for plan in unlike]
        for margin in _MARGINS:
            within = [self._within(name, limit, margin) for name, limit in limits.items()]
            plan = self._solve([self._one_each, *within, *apart])
            if plan is None:
                return None
            found = self._predicted(plan)
            if all(found.cost.quantity(name) <= limit for name, limit in limits.items()):
                return found
        return None

    def supported(self, prices: Mapping[Quantity, float]) -> list[Prediction]:
        """Every plan that is the best for some exchange rate of score and cost, where a unit of a
        quantity costs its price; dearest first.

        No plan of no higher cost has a lower score. They are found at once, block by block on the
        lower convex hull, since for a given rate the blocks do not depend on each other.
        """
        price = np.zeros(len(self._choices))
        for name, rate in prices.items():
            price += rate * self._changes[name]
        steps = sorted(
            step
            for row, block in enumerate(self._scores)
            for step in self._steps(block, np.flatnonzero(self._rows == row), price)
        )
        plan: dict[str, Option] = {}
        found = [self._predicted(Plan(plan))]
        for _, block, _, option in steps:
            plan[block] = option
            found.append(self._predicted(Plan(plan)))
        return found

    def _steps(
        self, block: str, places: NDArray[np.intp], price: NDArray[np.float64]
    ) -> Iterator[tuple[float, str, int, Option]]:
        """(exchange rate, block, how many before it, option) from `keep` down the hull."""
        (here,) = (place for place in places if self._choices[place][1] == KEEP)
        rate = 0.0
        for number in itertools.count():
            cheaper = [place for place in places if price[place] < price[here]]
            if not cheaper:
                return
            rates = (self._score[cheaper] - self._score[here]) / (price[here] - price[cheaper])
            # Of options on one line the cheapest, past which the hull bends.
            least = min(range(len(cheaper)), key=lambda each: (rates[each], price[cheaper[each]]))
            here = cheaper[least]
            rate = max(rate, float(rates[least]))  # rounding must not swap two steps
            yield rate, block, number, self._choices[here][1]

    def _predicted(self, plan: Plan) -> Prediction:
        score = sum(self._part(block, option) for block, option in plan.items())
        return Prediction(plan, score, self._table.cost(plan))

    def _within(self, name: Quantity, limit: float, margin: float) -> LinearConstraint:
        room = limit - self._table.teacher.quantity(name) - margin * limit
        return LinearConstraint(self._changes[name][None, :], -np.inf, room)

    def _solve(self, constraints: Sequence[LinearConstraint]) -> Plan | None:
        found = milp(
            # Its gap is absolute: small scores would pass for equal.
            self._score * (_RANGE / max(self._score.max(initial=0), _TINY)),
            integrality=np.ones(len(self._choices), dtype=np.int64),
            bounds=Bounds(0, 1),
            constraints=constraints,
            options={"time_limit": _SECONDS, "mip_rel_gap": 0},
        )
        if found.x is None:
            return None
        chosen = zip(self._choices, found.x, strict=True)
        return Plan(dict(choice for choice, taken in chosen if taken > 0.5))

    def _share(self, plan: Plan, most: int) -> LinearConstraint:
        """At most so many choices are those of `plan`."""
        same = np.array([plan.get(block, KEEP) == option for block, option in self._choices])
        return LinearConstraint(same.astype(float)[None, :], -np.inf, most)

    def _part(self, block: str, option: Option) -> float:
        return 0.0 if option == KEEP else self._scores[block][option]


def predicted_front(
    solver: Solver, limits: Mapping[Quantity, float], *, along: Quantity = "flops", points: int = 32
) -> list[Prediction]:
    """The best plan within `limits` and, spread over what is cheaper in `along`, plans that are the
    best of their own cost, dearest first; empty where nothing is within the limits.

    Where there are limits on more than that, cost is the sum of its shares of them.
    """
    best = solver.best(limits)
    if best is None:
        return []
    prices = {along: 1 / (solver.reach(along)[1] or 1)}
    prices |= {name: 1 / limit for name, limit in limits.items()}
    front = [best]
    for each in solver.supported(prices):
        is_within = all(each.cost.quantity(name) <= limit for name, limit in limits.items())
        is_cheaper = each.cost.quantity(along) < front[-1].cost.quantity(along)
        if is_within and is_cheaper and each.score > front[-1].score:
            front.append(each)
    costs = np.array([each.cost.quantity(along) for each in front])
    # The dearest that each of the budgets allows; costs fall.
    chosen = np.searchsorted(-costs, -np.linspace(costs[0], costs[-1], points).astype(costs.dtype))
    return [front[place] for place in dict.fromkeys(chosen.tolist()) if front[place].plan]
