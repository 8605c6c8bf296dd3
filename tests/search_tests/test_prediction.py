import json

import pytest

from pareconv.models.plan import KEEP, Plan
from pareconv.search.errors import InvalidSpec
from pareconv.search.prediction import predict

SCORES = {"ghost": 0.02, "shift": 0.01, "svd": 0.05}


@pytest.fixture
def entries(table):
    """Of every option, as a library's rows come in JSON."""
    return [
        {"block": block, "option": str(option), "score": SCORES[option.operator]} | change.to_json()
        for block, changes in table.changes.items()
        for option, change in changes.items()
        if option != KEEP
    ]


@pytest.fixture
def front(entries, table):
    return lambda limits, entries=entries: predict(entries, table.teacher.to_json(), limits)


def test_a_front_within_two_budgets(front, table):
    points = front({"flops": 700, "params": 600})
    assert points
    for point in points:
        plan = Plan.from_json(point["plan"])
        cost = table.cost(plan)
        assert cost.to_json() == {name: point[name] for name in ("flops", "params", "adds")}
        assert cost.quantity("flops") <= 700
        assert cost.params <= 600
        assert point["score"] == pytest.approx(sum(SCORES[o.operator] for o in plan.values()))
    assert json.loads(json.dumps(points)) == points


def test_without_a_budget_the_front_is_whole(front, table):
    """Of the three options `ghost` saves most for its score, and `svd` most after it; `shift` is
    the best at no exchange rate.
    """
    points = front({})
    assert [point["flops"] for point in points] == [800, 600, 400, 360, 320, 280]
    assert points[-1]["flops"] == table.least("flops")


def test_a_budget_on_parameters_alone_is_followed_along_parameters(front, table):
    points = front({"params": 800})
    params = [point["params"] for point in points]
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
    some = [entry for entry in entries if not entry["option"].startswith("svd")]
    front({"flops": 500}, some)
    front({"params": 450}, some)
    with pytest.raises(InvalidSpec, match="500 flops and 450 params cannot be reached together"):
        front({"flops": 500, "params": 450}, some)


def test_an_option_without_a_score_is_in_no_plan(entries, front):
    hopeless = [
        entry | {"score": None} if entry["option"] == "ghost" else entry for entry in entries
    ]
    plans = [Plan.from_json(point["plan"]) for point in front({}, hopeless)]
    assert {option.operator for plan in plans for option in plan.values()} == {"shift", "svd"}
