"""A front in one line of block characters. Pure."""

from collections.abc import Sequence

from pareconv.service.figures import percent
from pareconv.service.views.front import ParetoView, Point

_HEIGHTS = "▁▂▃▄▅▆▇█"
_WIDTH = 32


def front_line(front: ParetoView) -> str:
    """What the front reaches for each share of the teacher's cost, and its two ends in words.

    Empty where there is no point yet.
    """
    shares = [_share(point, front.objectives[1]) for point in front.points]
    reached = [
        (share, point.accuracy)
        for share, point in zip(shares, front.points, strict=True)
        if share is not None
    ]
    if not reached:
        return ""
    ends = [f"{percent(accuracy)} at {percent(share, digits=0)}" for share, accuracy in reached]
    told = ends[0] if len(ends) == 1 else f"{ends[0]} to {ends[-1]}"
    return f"front {sparkline(reached)} {told}"


def sparkline(points: Sequence[tuple[float, float]], width: int = _WIDTH) -> str:
    """`width` columns from nothing to the whole cost, as high as the best accuracy so far.

    `points` are (share of the cost, accuracy), cheapest first. The lowest block is the worst of
    them, the highest the best; where none is so cheap there is a dot. What costs more than the
    whole is in the last column.
    """
    worst, best = (choose(accuracy for _, accuracy in points) for choose in (min, max))
    columns = []
    for column in range(1, width + 1):
        within = [accuracy for share, accuracy in points if min(share, 1.0) <= column / width]
        columns.append(_height(max(within), worst, best) if within else "·")
    return "".join(columns)


def _height(accuracy: float, worst: float, best: float) -> str:
    if best == worst:
        return _HEIGHTS[-1]
    return _HEIGHTS[round((accuracy - worst) / (best - worst) * (len(_HEIGHTS) - 1))]


def _share(point: Point, cost: str) -> float | None:
    if cost == "latency":
        return point.latency_ratio
    return point.flops_ratio if cost == "flops" else point.params_ratio
