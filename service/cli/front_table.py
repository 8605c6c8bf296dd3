"""The front as a terminal shows it: the teacher, the points, the finalists and their files."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pareconv.service.cli.cost_cells import cost, limits_of
from pareconv.service.cli.tables import plain_table
from pareconv.service.figures import count, counted, percent, plan_in_short, size_of
from pareconv.service.views.front import ParetoView, Point


def front_view(front: ParetoView, *, server: str, full: bool = False) -> RenderableType:
    """The table, and below it what the finalists reached and where their files are.

    `full` adds the plans block by block.
    """
    parts: list[RenderableType] = [_heading(front)]
    if front.points or front.teacher:
        parts.append(_table(front))
    if not front.points:
        parts.append(Text("No student inside the budget yet."))
    if full:
        parts += [Text(line) for point in front.points for line in _block_by_block(point)]
    elif front.points:
        parts.append(Text("`front --full` prints the plans block by block.", style="dim"))
    parts += [Text(line) for line in (*_finalists(front), *_answer(front))]
    if any(point.artifacts for point in front.points):
        parts.append(Text(f"`pareconv download {front.job}` saves them."))
    parts += [Text(line, style="dim") for line in _doubts(front)]
    parts.append(Text(f"Page: {server}/ui/jobs/{front.job}", style="dim"))
    parts.append(Text(f"Dashboard: {server}/dashboard", style="dim"))
    return Group(*parts)


def _heading(front: ParetoView) -> Text:
    limits = limits_of(front.budget.flops, front.budget.params)
    if front.budget.latency_ms is not None:
        limits.append(f"{front.budget.latency_ms:.2f} ms")
    if (points := front.budget.accuracy_drop) is not None:
        limits.append(f"an accuracy drop of {points:g}")
    budget = f", budget {' and '.join(limits)}" if limits else ""
    trials = counted(front.trials_completed, "trial")
    return Text(f"Job {front.job}: {front.status}, {trials}{budget}")


def _table(front: ParetoView) -> Table:
    table = plain_table()
    has_adds = any(point.adds for point in front.points)
    has_latency = any(point.latency_ms is not None for point in front.points)
    is_finished = any(point.finalist for point in front.points)
    table.add_column("Trial", justify="right")
    table.add_column("FLOPs", justify="right", no_wrap=True)
    if has_adds:
        table.add_column("Adds", justify="right", no_wrap=True)
    table.add_column("Params", justify="right", no_wrap=True)
    if has_latency:
        table.add_column("Latency", justify="right", no_wrap=True)
    table.add_column("Validation", no_wrap=True)
    if is_finished:
        table.add_column("Final", no_wrap=True)
        table.add_column("Test", no_wrap=True)
    table.add_column("Plan", overflow="fold")
    for row in _rows(front):
        shown = {
            name: cell
            for name, cell in row.items()
            if (has_adds or name != "adds")
            and (has_latency or name != "latency")
            and (is_finished or name not in {"final", "test"})
        }
        table.add_row(*shown.values(), style="bold" if row["test"] != "-" else None)
    return table


def _rows(front: ParetoView) -> Iterator[dict[str, str]]:
    teacher = front.teacher
    if teacher:
        yield {
            "trial": "teacher",
            "flops": f"{count(teacher.flops)} 100%",
            "adds": count(teacher.adds),
            "params": f"{count(teacher.params)} 100%",
            "latency": _latency(teacher.latency_ms, 1.0),
            "validation": percent(teacher.accuracy),
            "final": "-",
            "test": percent(teacher.test_accuracy),
            "plan": "",
        }
    for point in front.points:
        yield {
            "trial": str(point.trial),
            "flops": cost(point.flops, point.flops_ratio),
            "adds": count(point.adds),
            "params": cost(point.params, point.params_ratio),
            "latency": _latency(point.latency_ms, point.latency_ratio),
            "validation": _accuracy(point),
            "final": percent(point.finish_accuracy),
            "test": percent(point.test_accuracy),
            "plan": plan_in_short(point.plan),
        }


def _latency(ms: float | None, ratio: float | None) -> str:
    return "-" if ms is None else f"{ms:.2f} ms {percent(ratio, digits=0):>4}"


def _accuracy(point: Point) -> str:
    stderr = point.accuracy_stderr
    return percent(point.accuracy) + (f" ±{100 * stderr:.1f}" if stderr else "")


def _block_by_block(point: Point) -> Iterator[str]:
    yield f"Trial {point.trial}:"
    width = max(map(len, point.plan), default=0)
    for block, option in point.plan.items():
        yield f"  {block:<{width}}  {option}"


def _finalists(front: ParetoView) -> Iterator[str]:
    teacher = percent(front.teacher.test_accuracy if front.teacher else None)
    for point in front.points:
        if point.test_accuracy is not None:
            share = percent(point.flops_ratio, digits=0)
            yield (
                f"Finalist {point.trial}: test accuracy {percent(point.test_accuracy)}, "
                f"the teacher's {teacher}, at {share} of its FLOPs"
            )
        for each in point.latencies:
            yield (
                f"  {each.runtime} {each.student_ms:.2f} ± {each.student_spread_ms:.2f} ms, "
                f"teacher {each.teacher_ms:.2f} ± {each.teacher_spread_ms:.2f} "
                f"(batch {each.batch}, {counted(each.threads, 'thread')}, {each.device})"
            )
        yield from _files(point)


def _doubts(front: ParetoView) -> Iterator[str]:
    if front.teacher and front.teacher.normalized:
        yield f"Images {front.teacher.normalized}."
    if front.teacher and front.teacher.validation_seen:
        yield (
            "Validation images are some of those for training, which the teacher may know: "
            "its accuracy there flatters it, that on test does not."
        )


def _answer(front: ParetoView) -> Iterator[str]:
    if front.answer:
        yield f"Answer: {front.answer.message}"


def _files(point: Point) -> Iterator[str]:
    for file in point.artifacts:
        size = size_of(file.bytes)
        tested = percent(file.test_accuracy)
        own = "" if tested == "-" else f"  (test accuracy {tested})"
        yield f"  {file.format:<11} {size:>8}  {file.href}{own}"
