"""A small front: the points of a job's front as an inline picture of a list. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pareconv.storage.candidates import FrontCost

WIDTH, HEIGHT, EDGE = 120.0, 36.0, 4.0


class Placed(Protocol):
    """What has an accuracy and costs something: a candidate, or a point of a front's view."""

    @property
    def accuracy(self) -> float | None: ...
    @property
    def flops(self) -> int: ...
    @property
    def adds(self) -> int: ...
    @property
    def params(self) -> int: ...
    @property
    def latency_ms(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class SmallFront:
    """Corners of a stepped line, and its points, in a picture of `WIDTH` by `HEIGHT`."""

    line: str
    points: list[tuple[float, float]]
    text: str


def small_front(front: Sequence[Placed], cost: FrontCost, whole: float | None) -> SmallFront | None:
    """`front` is cheapest first; the width is the teacher's cost. None where nothing is yet."""
    known = [(_amount(each, cost), each.accuracy or 0.0) for each in front]
    if not known:
        return None
    most = whole or known[-1][0] or 1.0
    low, high = known[0][1], known[-1][1]
    points = [
        (
            round(EDGE + (WIDTH - 2 * EDGE) * min(1.0, amount / most), 1),
            round(HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * _share(accuracy, low, high), 1),
        )
        for amount, accuracy in known
    ]
    corners = [points[0]]
    for point in points[1:]:
        corners += [(point[0], corners[-1][1]), point]
    line = " ".join(f"{x},{y}" for x, y in [*corners, (WIDTH - EDGE, corners[-1][1])])
    text = f"front of {len(known)} points, {100 * low:.1f}% to {100 * high:.1f}% accurate"
    return SmallFront(line, points, text)


def _share(accuracy: float, low: float, high: float) -> float:
    return (accuracy - low) / (high - low) if high > low else 0.5


def _amount(candidate: Placed, cost: FrontCost) -> float:
    match cost:
        case "flops":
            return candidate.flops + candidate.adds
        case "params":
            return candidate.params
        case "latency":
            return candidate.latency_ms or 0.0
