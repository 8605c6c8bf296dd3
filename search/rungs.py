"""Rungs: when a trial is looked at while it learns, and when it is clearly beaten. No torch.

Multi-fidelity rules of the literature rank by one number; a front needs one that knows two: a trial
stops when another that costs no more is more accurate at the same rung, beyond the noise of both.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Self

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


def best_rungs(rivals: Iterable[Sequence[Rung]]) -> list[Rung]:
    """The most accurate of the rivals at each rung."""
    return [
        max(filter(None, reached), key=lambda rung: rung.accuracy)
        for reached in zip_longest(*rivals)
    ]


def beaten(rungs: Sequence[Rung], bar: Sequence[Rung]) -> str | None:
    """Why a trial that has come so far should stop; None if it should not."""
    if len(rungs) > len(bar):
        return None
    own, best = rungs[-1], bar[len(rungs) - 1]
    if best.accuracy - own.accuracy <= _NOISE * math.hypot(own.stderr, best.stderr):
        return None
    return (
        f"beaten after {own.images:,} images: accuracy {own.accuracy:.4f}, "
        f"{best.accuracy:.4f} was reached by then at no higher cost"
    )
