"""The page: a report's facts as one HTML file that needs nothing else. A pure function."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pareconv.search.report import figures, plots
from pareconv.search.report.facts import BlockFacts, ReportFacts
from pareconv.search.report.figures import count, percent

_MOST_CLASSES = 16  # of a matrix that can be read
_MOST_LISTED = 15


def render(facts: ReportFacts) -> str:
    """The HTML. Whatever stands in the facts is shown as text, never as markup."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "count": count,
        "size": figures.size,
        "points": figures.points,
        "share": figures.share,
    }
    return environment.get_template("report.html.jinja").render(
        facts=facts,
        cost_name=plots.COSTS[facts.quantity],
        front=plots.front(facts),
        prediction=plots.prediction(facts),
        correlation=figures.rank_correlation(
            [
                (-trial.predicted, trial.accuracy)
                for trial in facts.trials
                if trial.predicted is not None
            ]
        ),
        loss=plots.loss(facts),
        exams=plots.exams(facts),
        operators=_operators(facts),
        disagreements=_disagreements(facts),
        agreement=figures.rank_correlation(
            [
                (trial.cost.counted("flops"), trial.cost.latency_ms)
                for trial in facts.trials
                if trial.cost.latency_ms is not None
            ]
        ),
        matrix=_matrix(facts),
        mistakes=_mistakes(facts),
        untested=_untested(facts),
        normalize=facts.spec.teacher.normalize,
        paths={file.format: file.filename for file in facts.files},
        spec_json=json.dumps(facts.spec.to_json(), indent=2, ensure_ascii=False),
    )


def _operators(facts: ReportFacts) -> list[tuple[str, int, int]]:
    """(kind, FLOPs of the teacher, of the student), the dearest first; additions last."""
    teacher, student = facts.operators["teacher"], facts.operators["student"]
    rows = [
        (kind.replace("_", " "), teacher.get(kind, 0), student.get(kind, 0))
        for kind in {**teacher, **student}
        if teacher.get(kind, 0) or student.get(kind, 0)
    ]
    rows.sort(key=lambda row: (-row[1], -row[2], row[0]))
    adds = facts.teacher.cost.adds, facts.student.cost.adds
    return [*rows, ("additions of adder layers", *adds)] if any(adds) else rows


def _disagreements(facts: ReportFacts) -> list[tuple[BlockFacts, float, float]]:
    """(block, FLOPs that its option saves, latency that it saves), both as shares of the teacher's;
    those that differ most come first. Empty where latencies were not measured.
    """
    whole = facts.teacher.cost
    if not whole.latency_ms:
        return []
    shares = [
        (
            block,
            (block.before - block.after).counted("flops") / whole.counted("flops"),
            block.saved_ms / whole.latency_ms,
        )
        for block in facts.blocks
        if block.rebuilt and block.saved_ms is not None
    ]
    return sorted(shares, key=lambda row: -abs(row[1] - row[2]))[:_MOST_LISTED]


def _matrix(facts: ReportFacts) -> list[tuple[str, list[tuple[int, float]]]] | None:
    """(true class, (count, share of the class) for each predicted class); None where it would be
    too large to be read.
    """
    size = len(facts.classes)
    if size > _MOST_CLASSES:
        return None
    counts = [[0] * size for _ in facts.classes]
    for actual, predicted, number in facts.confusion:
        counts[actual][predicted] = number
    return [
        (name, [(number, number / (sum(row) or 1)) for number in row])
        for name, row in zip(facts.classes, counts, strict=True)
    ]


def _untested(facts: ReportFacts) -> list[str]:
    """The classes of which no image tests."""
    tested = {actual for actual, _, number in facts.confusion if number}
    return [name for place, name in enumerate(facts.classes) if place not in tested]


def _mistakes(facts: ReportFacts) -> list[dict[str, Any]]:
    """The most frequent ones: true class, what it was taken for, how often, of how many."""
    images: dict[int, int] = defaultdict(int)
    for actual, _, number in facts.confusion:
        images[actual] += number
    wrong = sorted(
        ((number, actual, predicted) for actual, predicted, number in facts.confusion),
        key=lambda mistake: (-mistake[0], mistake[1:]),
    )
    return [
        {
            "actual": facts.classes[actual],
            "predicted": facts.classes[predicted],
            "number": number,
            "images": images[actual],
        }
        for number, actual, predicted in wrong
        if actual != predicted
    ][:_MOST_LISTED]
