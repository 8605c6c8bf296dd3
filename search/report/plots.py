"""Plots: what a report draws of its facts."""

from itertools import pairwise

from markupsafe import Markup

from pareconv.search.report.charts import Axis, Chart, Point
from pareconv.search.report.facts import ReportFacts
from pareconv.search.report.figures import count, percent, plain, tick_percent

COSTS = {"flops": "FLOPs", "params": "parameters", "latency_ms": "ms of predicted latency"}


def front(facts: ReportFacts) -> Markup:
    """Validation accuracy over cost: trials, front, teacher, budget, and the finished student."""
    chart = _accuracy_over_cost(facts)
    limit = facts.limits.get(facts.quantity)
    if limit is not None:
        chart.upright(limit, "limit", f"budget {count(limit)}")
    _add_trials(chart, facts)
    teacher, student = facts.teacher, facts.student
    whole, spent = (each.cost.quantity(facts.quantity) for each in (teacher, student))
    if teacher.accuracy is not None:
        title = f"Teacher: {_told(teacher.accuracy, whole, facts)}"
        chart.dot((whole, teacher.accuracy), "teacher", title, radius=6)
        chart.label((whole, teacher.accuracy), "teacher")
    finished = spent, student.finish_accuracy
    chart.line([(spent, student.accuracy), finished], "rise")
    title = f"Trial {facts.trial}, finished: {_told(student.finish_accuracy, spent, facts)}"
    chart.dot(finished, "chosen", title, radius=6)
    chart.label(finished, f"trial {facts.trial}")
    return chart.svg()


def _accuracy_over_cost(facts: ReportFacts) -> Chart:
    name, teacher = facts.quantity, facts.teacher
    known = [] if teacher.accuracy is None else [teacher.accuracy]
    tried = [trial.accuracy for trial in facts.trials]
    spent = [trial.cost.quantity(name) for trial in facts.trials]
    return Chart(
        Axis.over(
            [0, teacher.cost.quantity(name), *spent], f"{COSTS[name]} of the network", count, low=0
        ),
        _accuracy_axis([*tried, *known, facts.student.finish_accuracy]),
        f"Validation accuracy over {COSTS[name]}: every trial, the front, the teacher, and trial "
        f"{facts.trial}",
    )


def _add_trials(chart: Chart, facts: ReportFacts) -> None:
    best = sorted(
        (each for each in facts.trials if each.on_front),
        key=lambda each: each.cost.quantity(facts.quantity),
    )
    others = [each for each in facts.trials if not each.on_front]
    reached = [(each.cost.quantity(facts.quantity), each.accuracy) for each in best]
    chart.line(_steps(reached), "front")
    for each in (*others, *best):
        cost = each.cost.quantity(facts.quantity)
        title = f"Trial {each.trial}: {_told(each.accuracy, cost, facts)}"
        kind, radius = ("front", 4.5) if each.on_front else ("trial", 3)
        chart.dot((cost, each.accuracy), kind, title, radius=radius)


def _steps(points: list[Point]) -> list[Point]:
    """What a cost can buy: an accuracy holds until more is paid for."""
    found = points[:1]
    for (_, accuracy), (cost, better) in pairwise(points):
        found += [(cost, accuracy), (cost, better)]
    return found


def _told(accuracy: float, cost: float, facts: ReportFacts) -> str:
    return f"{percent(accuracy)}, {count(cost)} {COSTS[facts.quantity]}"


def _accuracy_axis(values: list[float]) -> Axis:
    return Axis.over(values, "Validation accuracy", tick_percent, high=1)


def _course_axis() -> Axis:
    return Axis("Share of the training", 0, 1, tick_percent)


def prediction(facts: ReportFacts) -> Markup | None:
    """Validation accuracy over what the library said beforehand."""
    told = [(trial, trial.predicted) for trial in facts.trials if trial.predicted is not None]
    if len(told) < 2:
        return None
    chart = Chart(
        Axis.over([score for _, score in told], "Predicted loss (library score)", plain),
        _accuracy_axis([trial.accuracy for trial, _ in told]),
        "Validation accuracy after brief training over the predicted loss, a dot for each trial",
    )
    for trial, score in told:
        title = f"Trial {trial.trial}: predicted {score:.3g}, measured {percent(trial.accuracy)}"
        kind = "chosen" if trial.trial == facts.trial else "trial"
        chart.dot((score, trial.accuracy), kind, title)
    return chart.svg()


def loss(facts: ReportFacts) -> Markup | None:
    points = facts.curve.loss
    if len(points) < 2:
        return None
    chart = Chart(
        _course_axis(),
        Axis.over([loss for _, loss in points], "Training loss", plain),
        "Training loss over the share of the training that is done",
    )
    chart.line(points, "curve")
    return chart.svg()


def exams(facts: ReportFacts) -> Markup | None:
    points = facts.curve.accuracy
    if not points:
        return None
    chart = Chart(
        _course_axis(),
        _accuracy_axis([accuracy for _, accuracy in points]),
        "Validation accuracy each time that the averaged weights were looked at",
    )
    chart.line(points, "curve")
    for done, accuracy in points:
        # Of equals the last is deployed.
        is_best = (done, accuracy) == max(points, key=lambda point: (point[1], point[0]))
        title = f"After {percent(done)}: {percent(accuracy)}"
        chart.dot((done, accuracy), "chosen" if is_best else "exam", title)
    return chart.svg()
