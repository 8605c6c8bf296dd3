"""A predicted front as a terminal shows it: the library, the budget and the plans."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pareconv.service.figures import count, percent, plan_in_short

Json = dict[str, Any]


def prediction_view(front: Json) -> RenderableType:
    """Cheapest plan first, as the server lists them."""
    if not front["points"]:
        return Group(Text(_heading(front)), Text("No plan is predicted to be worth it."))
    note = Text("None of them was tried; a lower score is closer to the teacher.", style="dim")
    return Group(Text(_heading(front)), _table(front), note)


def _heading(front: Json) -> str:
    limits = [
        f"{count(front['budget'][name])} {title}"
        for name, title in (("flops", "FLOPs"), ("params", "parameters"))
        if front["budget"][name] is not None
    ]
    budget = f" within {' and '.join(limits)}" if limits else ""
    return f"Library {front['library']}: predicted front{budget}"


def _table(front: Json) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    has_adds = any(point["adds"] for point in front["points"])
    table.add_column("FLOPs", justify="right", no_wrap=True)
    if has_adds:
        table.add_column("Adds", justify="right", no_wrap=True)
    table.add_column("Params", justify="right", no_wrap=True)
    table.add_column("Score", justify="right", no_wrap=True)
    table.add_column("Plan", overflow="fold")
    for point in front["points"]:
        adds = (count(point["adds"]),) if has_adds else ()
        score = f"{point['score']:.4g}"
        plan = plan_in_short(point["plan"])
        table.add_row(_cost(point, "flops"), *adds, _cost(point, "params"), score, plan)
    return table


def _cost(point: Json, name: str) -> str:
    return f"{count(point[name])} {percent(point[f'{name}_ratio'], digits=0):>4}"
