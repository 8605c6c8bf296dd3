"""An inspection as a terminal shows it: the teacher, its blocks and the budgets within reach."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pareconv.service.cli.spec_options import told
from pareconv.service.cli.tables import plain_table
from pareconv.service.figures import count, percent
from pareconv.service.views.inspection import InspectedOption, InspectionView

_PREPARATION = {
    "none": "",
    "fine-tuning": "; it gets a new head for these classes and is trained further first",
    "training": "; it has no weights and is trained first",
}


def inspection_view(
    inspection: InspectionView, *, has_budget: bool = True, has_latency: bool = False
) -> RenderableType:
    """Without a budget of the user's what can be reached is all that is told of it."""
    reach = _reach(inspection, has_budget=has_budget, has_latency=has_latency)
    lines = [Text(line) for line in reach]
    left_out = [Text(line, style="dim") for line in _left_out(inspection)]
    assumed = [Text(told(each), style="dim") for each in inspection.assumptions]
    return Group(Text(_teacher(inspection)), _blocks(inspection), *left_out, *lines, *assumed)


def _teacher(inspection: InspectionView) -> str:
    teacher, images = inspection.teacher, inspection.images
    size = inspection.image_size
    held_out = "some" if images.held_out is None else f"{images.held_out:,}"
    given = (
        f" ({held_out} held out to validate)"
        if images.validation is None
        else f", {images.validation:,} validation"
    )
    return (
        f"Teacher: {count(teacher.flops)} FLOPs, {count(teacher.params)} parameters; "
        f"{len(inspection.classes)} classes, {images.train:,} training{given} and "
        f"{images.test:,} test images at {size}x{size}{_PREPARATION[teacher.preparation]}"
    )


def _blocks(inspection: InspectionView) -> Table:
    table = plain_table()
    table.add_column("Block", overflow="fold")
    table.add_column("Convolutions", justify="right")
    table.add_column("Options", justify="right")
    table.add_column("Cheapest", overflow="fold")
    table.add_column("Saves of all FLOPs", justify="right")
    whole = inspection.teacher.flops
    for block in inspection.blocks:
        cheapest = min(block.options, key=_cost, default=None)
        saved = None if cheapest is None else 1 - _cost(cheapest) / whole
        table.add_row(
            block.name,
            str(len(block.convs)),
            str(len(block.options)),
            cheapest.option if cheapest else "-",
            percent(saved),
        )
    return table


def _cost(option: InspectedOption) -> int:
    return option.flops + option.adds


def _left_out(inspection: InspectionView) -> Iterator[str]:
    for each in inspection.left_out:
        yield f"Left out: {each.name}: {each.reason}"


def _reach(inspection: InspectionView, *, has_budget: bool, has_latency: bool) -> Iterator[str]:
    reachable, budget = inspection.reachable, inspection.budget
    for title, reach, limit in (
        ("FLOPs", reachable.flops, budget.flops),
        ("Parameters", reachable.params, budget.params),
    ):
        wanted = f"; the budget is {count(limit)}" if has_budget and limit else ""
        yield f"{title} within reach: {count(reach.least)} to {count(reach.greatest)}{wanted}"
    if latency := reachable.latency_ms:
        ms = budget.latency_ms
        wanted = "" if ms is None else f"; the budget is {ms:.2f} ms"
        yield f"Latency within reach: {latency.least:.2f} to {latency.greatest:.2f} ms{wanted}"
    elif has_latency:
        yield "Latency within reach: known once a job has measured it"
