"""Figures: how the pages write numbers, shares, times and plans, as the command line does."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pareconv.service.cli.figures import count, duration, percent, plan_in_short, size_of

COSTS = {"flops": "FLOPs", "params": "parameters", "latency": "ms"}


def age(moment: datetime) -> str:
    """How long ago, in its largest unit."""
    seconds = max(0.0, (datetime.now(UTC) - moment).total_seconds())
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def share(part: float, whole: float) -> str:
    """`part` in percent of `whole`."""
    return percent(part / whole, digits=0) if whole else "-"


def amount(number: float | None) -> str:
    """A count with its unit, or a dash where there is none."""
    if number is None:
        return "-"
    return f"-{count(-number)}" if number < 0 else count(round(number, 3))


def operator_of(option: str) -> str:
    """`svd(ratio=0.5)` is of `svd`."""
    return option.partition("(")[0]


FILTERS: dict[str, Callable[..., Any]] = {
    "age": age,
    "amount": amount,
    "duration": duration,
    "operator": operator_of,
    "percent": percent,
    "plan": plan_in_short,
    "share": share,
    "size": size_of,
}
