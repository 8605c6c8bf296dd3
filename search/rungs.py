"""Rungs: when a trial is looked at while it learns, and when it is clearly beaten. No torch.

Multi-fidelity rules of the literature rank by one number; a front needs one that knows two: a trial
stops when another that costs no more is more accurate at the same rung, beyond the noise of both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from pareconv.search.staircase import Staircase

RUNGS = (0.25, 0.5)  # shares of a trial's training images after which it may stop

_NOISE = 2.0  # standard errors of the difference


@dataclass(frozen=True, slots=True)
class Rung:
    """Accuracy on validation and its standard error after so many training images."""

    images: int
    accuracy: float
    stderr: float

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        return cls(value["images"], value["accuracy"], value["stderr"])


class Bars:
    """What a trial has to be compared with, whatever it costs."""

    def __init__(self) -> None:
        self._bests: list[Staircase[Rung]] = []  # of each rung

    def put(self, cost: float, rungs: Sequence[Rung]) -> None:
        """Add how a trial of that cost did, as far as it came."""
        self._bests += [Staircase() for _ in rungs[len(self._bests) :]]
        for best, rung in zip(self._bests, rungs, strict=False):
            best.put(cost, rung.accuracy, rung)

    def at(self, cost: float) -> list[Rung]:
        """The most accurate at each rung of those that cost no more."""
        return [rung for best in self._bests if (rung := best.best(cost)) is not None]


def beaten(rungs: Sequence[Rung], bar: Sequence[Rung]) -> str | None:
    """Why a trial that has come so far should stop; None if it should not."""
    if len(rungs) > len(bar):
        return None
    own, best = rungs[-1], bar[len(rungs) - 1]
    if best.accuracy - own.accuracy <= _NOISE * math.hypot(own.stderr, best.stderr):
        return None
    return (
        f"beaten after {own.images:,} images: accuracy {own.accuracy:.1%}, "
        f"{best.accuracy:.1%} was reached by then at no higher cost"
    )
