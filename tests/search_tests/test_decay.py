"""Weight decay by the share of a layer that is left."""

from dataclasses import replace

import pytest

from pareconv.models.plan import Plan
from pareconv.models.rewriting import rewrite
from pareconv.search.answers import Answers
from pareconv.search.data.views import Views
from pareconv.search.decay import scaled
from pareconv.search.distillation.registry import METHODS
from pareconv.search.distillation.setting import Setting
from pareconv.search.training import Recipe, Training

PLAN = Plan.from_json({"3": "svd(ratio=0.125)"})
RECIPE = Recipe(images=64, pool=64, batch_size=64, optimizer="muon", lr=0.01, weight_decay=0.5)


@pytest.fixture
def teacher(small_network):
    return small_network()


@pytest.fixture
def student(teacher):
    return rewrite(teacher, PLAN)


def test_a_rebuilt_layer_gets_the_share_of_its_parameters_that_is_left(student, teacher):
    layer = student.get_submodule("3")
    left = sum(each.numel() for each in layer.parameters()) / (12 * 24 * 9)
    assert 0 < left < 0.2
    assert scaled(student, teacher, 0.5) == {
        f"3.{name}": pytest.approx(0.5 * left) for name, _ in layer.named_parameters()
    }


def test_what_is_as_large_as_before_gets_all(teacher, small_network):
    as_large = rewrite(teacher, Plan.from_json({"3": "adder"}))
    assert scaled(as_large, teacher, 0.5) == scaled(small_network(1), teacher, 0.5) == {}


@pytest.mark.parametrize("name", ["kd", "online_ensemble", "mutual"])
def test_all_networks_of_the_students_plan_are_let_off(name, student, teacher, digit_splits):
    """As many groups of parameters have less as there are networks with such a layer."""
    student.requires_grad_(True)
    views = Views(digit_splits[0], "none", 0)
    setting = Setting(student, views, Answers(teacher, ["_2", "_5"]), seed=0)
    less = {}
    for scale in (False, True):
        recipe = replace(RECIPE, scale_decay=scale)
        training = Training(setting, METHODS[name].of({}), recipe)
        groups = [group for each in training._optimizers for group in each.param_groups]
        less[scale] = sum(len(group["params"]) for group in groups if group["weight_decay"] < 0.4)
    layers = len(list(student.get_submodule("3").parameters()))
    alike = {"kd": 1, "online_ensemble": 4, "mutual": 1}[name]
    assert less == {False: 0, True: alike * layers}
