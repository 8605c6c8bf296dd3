"""Charts of a report: SVG that takes its colours from the page. Knows numbers, not their sources.

What a mark stands for is its `title`, which browsers show where the pointer rests and readers of
the screen speak.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

Point = tuple[float, float]

_WIDTH, _HEIGHT = 560, 350
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 28, 26, 50
_MOST_POINTS = 300  # of a line: more than there are pixels tells nothing


@dataclass(frozen=True)
class Axis:
    """A linear scale over `values` with some room, its title, and how a number is written."""

    title: str
    low: float
    high: float
    written: Callable[[float], str]

    @classmethod
    def over(
        cls,
        values: Iterable[float],
        title: str,
        written: Callable[[float], str],
        *,
        low: float | None = None,
        high: float | None = None,
    ) -> "Axis":
        """`low` and `high`, where given, are not gone beyond."""
        given = list(values)
        least, greatest = min(given), max(given)
        room = 0.06 * (greatest - least) or abs(greatest) * 0.1 or 1.0
        return cls(
            title,
            least - room if low is None else max(low, least - room),
            greatest + room if high is None else min(high, greatest + room),
            written,
        )

    def ticks(self) -> list[float]:
        """Round numbers, about five of them."""
        step = _round_step((self.high - self.low) / 5)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


class Chart:
    """Marks between two axes, drawn in the order in which they are added."""

    def __init__(self, x: Axis, y: Axis, description: str) -> None:
        self._x, self._y, self._description = x, y, description
        self._marks: list[Markup] = []
        self._words: list[Markup] = []  # below the marks, which they must not hide

    def line(self, points: Sequence[Point], kind: str) -> None:
        drawn = " ".join(f"{self._across(x)},{self._up(y)}" for x, y in _thinned(points))
        self._marks.append(Markup('<polyline class="{}" points="{}"/>').format(kind, drawn))

    def dot(self, at: Point, kind: str, title: str, *, radius: float = 4) -> None:
        x, y = self._across(at[0]), self._up(at[1])
        self._marks.append(
            Markup('<circle class="{}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>').format(
                kind, x, y, radius, title
            )
        )

    def upright(self, x: float, kind: str, title: str) -> None:
        """A line at `x` from bottom to top, with its title above the chart."""
        at = self._across(x)
        self._marks.append(
            Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                kind, at, at, _TOP, _HEIGHT - _BOTTOM
            )
        )
        self._words.append(
            Markup('<text class="word" x="{}" y="{}" text-anchor="middle">{}</text>').format(
                at, _TOP - 8, title
            )
        )

    def label(self, at: Point, text: str) -> None:
        """Words beside a mark, on the side where there is room."""
        x, y = self._across(at[0]), self._up(at[1])
        anchor, shift = ("start", 8) if x < _WIDTH / 2 else ("end", -8)
        self._words.append(
            Markup('<text class="word" x="{}" y="{}" text-anchor="{}">{}</text>').format(
                x + shift, max(y - 9, _TOP + 10), anchor, text
            )
        )

    def svg(self) -> Markup:
        return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg>').format(
            _WIDTH,
            _HEIGHT,
            self._description,
            self._grid(),
            Markup("").join([*self._words, *self._marks]),
            self._titles(),
        )

    def _grid(self) -> Markup:
        bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        lines = [
            Markup(
                '<line class="grid" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>'
                '<text class="tick" x="{3}" y="{4}" text-anchor="end">{5}</text>'
            ).format(_LEFT, right, up, _LEFT - 8, up + 4, self._y.written(value))
            for value in self._y.ticks()
            for up in [self._up(value)]
        ]
        lines += [
            Markup(
                '<line class="grid" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>'
                '<text class="tick" x="{0}" y="{3}" text-anchor="middle">{4}</text>'
            ).format(across, _TOP, bottom, bottom + 18, self._x.written(value))
            for value in self._x.ticks()
            for across in [self._across(value)]
        ]
        return Markup("").join(lines)

    def _titles(self) -> Markup:
        middle = _TOP + (_HEIGHT - _TOP - _BOTTOM) / 2
        return Markup(
            '<text class="axis" x="{}" y="{}" text-anchor="middle">{}</text>'
            '<text class="axis" x="14" y="{}" text-anchor="middle" '
            'transform="rotate(-90 14 {})">{}</text>'
        ).format(
            _LEFT + (_WIDTH - _LEFT - _RIGHT) / 2,
            _HEIGHT - 10,
            self._x.title,
            middle,
            middle,
            self._y.title,
        )

    def _across(self, value: float) -> float:
        share = (value - self._x.low) / (self._x.high - self._x.low)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def _up(self, value: float) -> float:
        share = (value - self._y.low) / (self._y.high - self._y.low)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)


def _round_step(least: float) -> float:
    """The smallest of 1, 2 or 5 times a power of ten that is not below."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _thinned(points: Sequence[Point]) -> list[Point]:
    """As many means of neighbours as are seen."""
    size = math.ceil(len(points) / _MOST_POINTS) or 1
    groups = (points[start : start + size] for start in range(0, len(points), size))
    return [
        (sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group))
        for group in groups
    ]
