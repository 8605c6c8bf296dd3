"""The picture of a prediction: where each plan lies, accuracy or score upwards. Reads no store."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, EDGE = 640.0, 240.0, 36.0


@dataclass(frozen=True, slots=True)
class Predicted:
    """A plan: its share of the teacher's FLOPs, its score, and the accuracy it may reach, from 0
    to 1, which is None where no trial tells (yet) what such a score means.
    """

    ratio: float
    score: float
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class PredictionChart:
    """Places in an SVG of WIDTH x HEIGHT, cheapest first; `highest` and `lowest` are the ends of
    its axis. `hidden` plans have no accuracy, and are left out where others have one.
    """

    title: str
    highest: str
    lowest: str
    dots: list[tuple[float, float]]
    hidden: int


def prediction_chart(plans: Sequence[Predicted], teacher: float | None) -> PredictionChart:
    """By accuracy where two plans or more have one, with the `teacher`'s at the top; else by
    score, the least of which, the teacher's 0, is at the top.
    """
    known = [(each.ratio, each.accuracy) for each in plans if each.accuracy is not None]
    if teacher is not None and len(known) > 1:
        low = min(accuracy for _, accuracy in known)
        high = max(teacher, *(accuracy for _, accuracy in known))
        return PredictionChart(
            title="accuracy after brief training, about",
            highest=f"{high:.1%}",
            lowest=f"{low:.1%}",
            dots=_places(known, low, high),
            hidden=len(plans) - len(known),
        )
    worst = max((each.score for each in plans), default=0.0)
    return PredictionChart(
        title="score, which is 0 for the teacher: less is better",
        highest="0",
        lowest=f"{worst:.2g}",
        dots=_places([(each.ratio, each.score) for each in plans], worst, 0.0),
        hidden=0,
    )


def _places(
    points: Sequence[tuple[float, float]], low: float, high: float
) -> list[tuple[float, float]]:
    """`high` is drawn at the top and `low` at the bottom, whichever is the greater number."""
    width, height = WIDTH - 2 * EDGE, HEIGHT - 2 * EDGE
    span = (high - low) or 1.0
    return [
        (
            round(EDGE + width * min(1.0, ratio), 1),
            round(EDGE + height * (high - value) / span, 1),
        )
        for ratio, value in points
    ]
