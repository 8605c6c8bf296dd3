"""A predicted front as a terminal shows it: the library, the budget and the plans."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pareconv.service.cli.cost_cells import cost, limits_of
from pareconv.service.cli.tables import plain_table
from pareconv.service.figures import count, plan_in_short
from pareconv.service.views.prediction import PredictedFrontView


def prediction_view(front: PredictedFrontView) -> RenderableType:
    """Cheapest plan first, as the server lists them."""
    if not front.points:
        return Group(Text(_heading(front)), Text("No plan is predicted to be worth it."))
    note = Text("Predicted, not measured; a lower score is closer to the teacher.", style="dim")
    return Group(Text(_heading(front)), _table(front), note)


def _heading(front: PredictedFrontView) -> str:
    limits = limits_of(front.budget.flops, front.budget.params)
    budget = f" within {' and '.join(limits)}" if limits else ""
    return f"Library {front.library}: predicted front{budget}"


def _table(front: PredictedFrontView) -> Table:
    table = plain_table()
    has_adds = any(point.adds for point in front.points)
    table.add_column("FLOPs", justify="right", no_wrap=True)
    if has_adds:
        table.add_column("Adds", justify="right", no_wrap=True)
    table.add_column("Params", justify="right", no_wrap=True)
    table.add_column("Score", justify="right", no_wrap=True)
    table.add_column("Plan", overflow="fold")
    for point in front.points:
        adds = (count(point.adds),) if has_adds else ()
        score = f"{point.score:.4g}"
        plan = plan_in_short(point.plan)
        table.add_row(
            cost(point.flops, point.flops_ratio),
            *adds,
            cost(point.params, point.params_ratio),
            score,
            plan,
        )
    return table
