"""Thinning: of thousands of trials those that a chart can show. A pure function."""

from collections.abc import Iterable, Sequence

from pareconv.storage.dots import Dot

_MOST = 600
_COLUMNS, _ROWS = 26, 18


def front_of(dots: Iterable[Dot]) -> list[Dot]:
    """The complete ones that no other one dominates, cheapest first."""
    front: list[Dot] = []
    ordered = sorted(
        (dot for dot in dots if dot.is_complete),
        key=lambda dot: (dot.cost, -dot.accuracy, dot.number),
    )
    for dot in ordered:
        if not front or dot.accuracy > front[-1].accuracy:
            front.append(dot)
    return front


def thinned(dots: Sequence[Dot], kept: set[int]) -> list[Dot]:
    """All of them where they are few; else those of `kept`, the finished and repeated ones, and of
    the others the newest in each cell of a grid. By number.
    """
    if len(dots) <= _MOST:
        return list(dots)
    column, row = (
        _Cells([d.cost for d in dots], _COLUMNS),
        _Cells([d.accuracy for d in dots], _ROWS),
    )
    cells = {(column(d.cost), row(d.accuracy), d.is_complete): d.number for d in dots}
    shown = kept | set(cells.values())
    return [dot for dot in dots if dot.number in shown or dot.finalist or dot.evaluations > 1]


class _Cells:
    """From a value to which of `cells` equal parts of the range it lies in."""

    def __init__(self, values: Sequence[float], cells: int) -> None:
        self._low = min(values)
        self._step = (max(values) - self._low) / cells or 1.0

    def __call__(self, value: float) -> int:
        return int((value - self._low) / self._step)
