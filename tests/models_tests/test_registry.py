"""The registry of operators."""

import pytest

from pareconv.models.convolutions.registry import OPERATORS, operator, registered
from pareconv.models.errors import PlanError


def test_unknown_operator_lists_the_known_ones() -> None:
    with pytest.raises(PlanError, match=r"unknown operator 'winograd'; known: adder, bottleneck"):
        operator("winograd")
    with pytest.raises(PlanError, match="did you mean 'depthwise'"):
        operator("depthwize")


def test_two_operators_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two operators are named 'shift'"):
        registered(OPERATORS["shift"], OPERATORS["shift"])


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_every_operator_documents_itself(name: str) -> None:
    described = OPERATORS[name]
    texts = "summary", "formula", "cost", "source", "when"
    assert all(described.describe()[text] for text in texts)
    for hyper in described.hyper:
        assert all(hyper.low <= value <= hyper.high for value in hyper.grid)
        assert hyper.description
