"""Figures: how the pages write numbers, shares, times and plans, as the command line does."""

from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup, escape

from pareconv.service.figures import age, count, counted, duration, percent, plan_in_short, size_of

COSTS = {"flops": "FLOPs", "params": "parameters", "latency": "ms"}


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


def plan(options: Mapping[str, str]) -> Markup:
    """In short; where a column is narrow it breaks between an operator and its numbers."""
    text = str(escape(plan_in_short(options)))
    return Markup(text.replace("(", "<wbr>(").replace("_", "_<wbr>"))


FILTERS: dict[str, Callable[..., Any]] = {
    "age": age,
    "amount": amount,
    "counted": counted,
    "duration": duration,
    "operator": operator_of,
    "percent": percent,
    "plan": plan,
    "share": share,
    "size": size_of,
}
