"""Plans and options: plain values that survive text and JSON."""

import json

import pytest

from pareconv.models.errors import PlanError
from pareconv.models.plan import KEEP, Option, Plan


@pytest.mark.parametrize("text", ["keep", "shift", "svd(ratio=0.5)", "hetconv(parts=4)"])
def test_an_option_is_its_text(text: str) -> None:
    assert str(Option.parse(text)) == text


def test_the_order_of_hyper_parameters_does_not_matter() -> None:
    assert Option.parse("tucker(b=2, a=1)") == Option.of("tucker", a=1, b=2)
    assert Option.parse("ghost( ratio = 2 )").kwargs == {"ratio": 2}


@pytest.mark.parametrize(
    "text", ["", "Svd", "svd(", "svd(ratio)", "svd(ratio=x)", "svd(ratio=1.2.3)", "svd()x"]
)
def test_an_option_that_makes_no_sense_is_refused_by_name(text: str) -> None:
    with pytest.raises(PlanError, match="option"):
        Option.parse(text)


def test_equal_plans_are_equal_however_written() -> None:
    first = Plan.from_json({"b": "shift", "a": "svd(ratio=0.5)", "c": "keep"})
    second = Plan({"a": Option.of("svd", ratio=0.5), "b": Option("shift")})
    assert first == second
    assert hash(first) == hash(second)
    assert first.key == second.key == "a=svd(ratio=0.5); b=shift"
    assert list(first) == ["a", "b"]
    assert first.get("c", KEEP) == KEEP


def test_a_plan_survives_json() -> None:
    plan = Plan.from_json({"layer1.0": "group_pointwise(groups=4)", "stem": "pointwise"})
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_a_plan_that_keeps_all_is_empty() -> None:
    assert not Plan({"a": KEEP})
