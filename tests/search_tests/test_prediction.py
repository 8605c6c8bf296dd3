from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pareconv.models.plan import KEEP
from pareconv.search.errors import InvalidSpec
from pareconv.search.prediction import predict
from pareconv.storage.libraries import Entry

SCORES = {"ghost": 0.02, "shift": 0.01, "svd": 0.05}


@pytest.fixture
def entries(table):
    """Of every option, as a library keeps them."""
    known = {"version": 1, "rungs": 0, "settled": True, "images": 0, "loss": 0.1, "weights": ""}
    known |= {"score_stderr": 0.0, "score_images": 64, "updated_at": datetime.now(UTC)}
    return [
        Entry(
            block=block,
            option=str(option),
            score=SCORES[option.operator],
            **change.to_json(),
            **known,
        )
        for block, changes in table.changes.items()
        for option, change in changes.items()
        if option != KEEP
    ]


@pytest.fixture
def front(entries, table):
    return lambda limits, entries=entries: predict(entries, table.teacher, limits)


def test_nothing_scored_predicts_nothing(front, entries):
    unscored = [replace(entry, score=None) for entry in entries]
    assert front({}, unscored) == front({"flops": 700}, []) == []


def test_a_front_within_two_budgets(front, table):
    points = front({"flops": 700, "params": 600})
    assert points
    for point in points:
        assert table.cost(point.plan) == point.cost
        assert point.cost.quantity("flops") <= 700
        assert point.cost.params <= 600
        parts = [SCORES[option.operator] for option in point.plan.values()]
        assert point.score == pytest.approx(sum(parts))


def test_without_a_budget_the_front_is_whole(front, table):
    """Of the three options `ghost` saves most for its score, and `svd` most after it; `shift` is
    the best at no exchange rate.
    """
    points = front({})
    assert [point.cost.flops for point in points] == [800, 600, 400, 360, 320, 280]
    assert points[-1].cost.flops == table.least("flops")


def test_a_budget_on_parameters_alone_is_followed_along_parameters(front, table):
    points = front({"params": 800})
    params = [point.cost.params for point in points]
    assert params == sorted(params, reverse=True)
    assert 700 < params[0] <= 800
    assert params[-1] == table.least("params")


@pytest.mark.parametrize(
    ("limits", "field", "least"),
    [
        ({"flops": 279}, "flops", "280"),
        ({"params": 100}, "params", "300"),
        ({"flops": 900, "params": 299}, "params", "300"),
    ],
)
def test_a_budget_out_of_reach_is_named_with_the_least(limits, field, least, front):
    with pytest.raises(InvalidSpec) as caught:
        front(limits)
    assert caught.value.field == field
    assert f"{limits[field]:,}" in caught.value.message
    assert least in caught.value.message


def test_budgets_that_cannot_be_reached_together_are_named(entries, front):
    """Without `svd`: what saves FLOPs saves few parameters, and the other way round."""
    some = [entry for entry in entries if not entry.option.startswith("svd")]
    front({"flops": 500}, some)
    front({"params": 450}, some)
    with pytest.raises(InvalidSpec, match="500 flops and 450 params cannot be reached together"):
        front({"flops": 500, "params": 450}, some)


def test_an_option_without_a_score_is_in_no_plan(entries, front):
    hopeless = [
        replace(entry, score=None) if entry.option == "ghost" else entry for entry in entries
    ]
    plans = [point.plan for point in front({}, hopeless)]
    assert {option.operator for plan in plans for option in plan.values()} == {"shift", "svd"}


def test_a_library_that_a_job_with_a_latency_began_predicts_the_same(front, entries, table):
    measured = replace(table.teacher, latency_ms=2.0)
    assert predict(entries, measured, {"flops": 700}) == front({"flops": 700})
