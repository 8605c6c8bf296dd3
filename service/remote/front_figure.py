"""A front as a Plotly figure, for a notebook."""

from plotly.graph_objects import Figure, Scatter

from pareconv.service.figures import counted, percent, plan_in_short
from pareconv.service.views.front import ParetoView, Point
from pareconv.service.views.teacher import TeacherView

_TITLES = {"flops": "FLOPs", "params": "parameters", "latency": "latency in ms"}


def front_figure(front: ParetoView) -> Figure:
    """Accuracy over the cost that the front is drawn over.

    A point whose accuracy is the mean of several seeds has error bars of one standard error. FLOPs
    are those of fvcore and the additions of adder layers.
    """
    _, cost = front.objectives
    figure = Figure()
    figure.add_trace(_points(front.points, cost))
    if finished := [point for point in front.points if point.finish_accuracy is not None]:
        figure.add_trace(_finished(finished, cost))
    if front.teacher is not None and front.teacher.accuracy is not None:
        figure.add_trace(_teacher(front.teacher, front.teacher.accuracy, cost))
    limit = front.budget.latency_ms if cost == "latency" else getattr(front.budget, cost)
    if limit is not None:
        figure.add_vline(x=limit, line_dash="dash", annotation_text="budget")
    figure.update_xaxes(title=_TITLES[cost], rangemode="tozero")
    figure.update_yaxes(title="accuracy on validation", tickformat=".1%")
    figure.update_layout(title=f"Job {front.job}: {counted(front.trials_completed, 'trial')}")
    return figure


def _points(points: list[Point], cost: str) -> Scatter:
    errors = [point.accuracy_stderr if point.evaluations > 1 else None for point in points]
    return Scatter(
        name="front",
        mode="lines+markers",
        x=[_amount(point, cost) for point in points],
        y=[point.accuracy for point in points],
        error_y={"array": errors, "visible": any(error is not None for error in errors)},
        text=[_told(point) for point in points],
        hoverinfo="text",
    )


def _finished(points: list[Point], cost: str) -> Scatter:
    return Scatter(
        name="finished",
        mode="markers",
        marker={"symbol": "star", "size": 12},
        x=[_amount(point, cost) for point in points],
        y=[point.finish_accuracy for point in points],
        text=[_told(point) for point in points],
        hoverinfo="text",
    )


def _teacher(teacher: TeacherView, accuracy: float, cost: str) -> Scatter:
    return Scatter(
        name="teacher",
        mode="markers",
        marker={"symbol": "diamond", "size": 12},
        x=[_amount(teacher, cost)],
        y=[accuracy],
    )


def _amount(costly: Point | TeacherView, cost: str) -> float | None:
    if cost == "latency":
        return costly.latency_ms
    return costly.flops + costly.adds if cost == "flops" else costly.params


def _told(point: Point) -> str:
    final = "" if point.finish_accuracy is None else f", finished {percent(point.finish_accuracy)}"
    return f"trial {point.trial}: {percent(point.accuracy)}{final}<br>{plan_in_short(point.plan)}"
