"""Figures: how numbers, shares, times and plans are shown to people. Knows no server."""

import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_NAME_OF_HYPER = re.compile(r"\w+=")


def count(number: float) -> str:
    """Three significant figures with a unit: 40927872 is `40.9M`."""
    for size, unit in _UNITS:
        # 999,950 would otherwise read 1000k.
        if number >= size * 0.9995:
            return f"{_three(number / size)}{unit}"
    return f"{number:g}"


def counted(number: float, noun: str) -> str:
    """`1 trial`, `8 trials`."""
    return f"{number:g} {noun}{'' if number == 1 else 's'}"


def size_of(size_bytes: float) -> str:
    return f"{count(size_bytes)}B" if size_bytes >= 1000 else f"{size_bytes:g} B"


def percent(share: float | None, *, digits: int = 1) -> str:
    return "-" if share is None else f"{100 * share:.{digits}f}%"


def duration(seconds: float) -> str:
    """`42 s`, `3:07` or `1:02:07`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def age(moment: datetime | str) -> str:
    """How long ago a time, or one in ISO 8601, was, in its largest unit."""
    then = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    seconds = max(0.0, (datetime.now(UTC) - then).total_seconds())
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def plan_in_short(plan: Mapping[str, str]) -> str:
    """`{"a": "shift", "b": "svd(ratio=0.5)", "c": "svd(ratio=0.5)"}` is `svd(0.5) x2, shift`: the
    most frequent first, whatever the order of the blocks.
    """
    options = Counter(_NAME_OF_HYPER.sub("", option) for option in plan.values())
    ordered = sorted(options.items(), key=lambda item: (-item[1], item[0]))
    shown = (f"{name} x{times}" if times > 1 else name for name, times in ordered)
    return ", ".join(shown) or "keep"


def _three(number: float) -> str:
    digits = 0 if number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{number:.{digits}f}"
