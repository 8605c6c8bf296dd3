"""A staircase: the best value at no higher cost. Knows no candidates."""

from bisect import bisect_left, bisect_right
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Staircase(Generic[Item]):
    """Steps by growing cost and growing value. To put one, or to ask for one, takes a bisection."""

    def __init__(self) -> None:
        self._costs: list[float] = []
        self._steps: list[tuple[float, Item]] = []

    def __len__(self) -> int:
        return len(self._costs)

    def items(self) -> list[Item]:
        """Cheapest first."""
        return [item for _, item in self._steps]

    def best(self, cost: float) -> Item | None:
        """What has the highest value at no higher cost; None where nothing is as cheap."""
        place = bisect_right(self._costs, cost)
        return self._steps[place - 1][1] if place else None

    def put(self, cost: float, value: float, item: Item) -> None:
        """Add a point. Where one is as cheap and as good already, that stays."""
        place = bisect_right(self._costs, cost)
        if place and self._steps[place - 1][0] >= value:
            return
        first = bisect_left(self._costs, cost)
        last = first
        while last < len(self._steps) and self._steps[last][0] <= value:
            last += 1
        self._costs[first:last] = [cost]
        self._steps[first:last] = [(value, item)]
