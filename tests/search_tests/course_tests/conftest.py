"""A tiny pair on real digits, and courses and trainings of it by any method."""

from dataclasses import replace

import pytest
import torch

from pareconv.models.plan import Plan
from pareconv.models.rewriting import rewrite
from pareconv.search.answers import Answers
from pareconv.search.data.views import Views
from pareconv.search.distillation.course import Batch
from pareconv.search.distillation.registry import METHODS
from pareconv.search.distillation.setting import Setting
from pareconv.search.training import Recipe, Training

TAPS = ["_2", "_5"]


@pytest.fixture
def teacher(small_network, taught_weights):
    network = small_network()
    network.load_state_dict(taught_weights)
    return network.eval().requires_grad_(False)


@pytest.fixture
def views(digit_splits):
    return Views(digit_splits[0], "crop", 0)


@pytest.fixture
def student(small_network):
    return small_network(1)


@pytest.fixture
def adder_student(student):
    return rewrite(student, Plan.from_json({"3": "adder"})).requires_grad_(True)


@pytest.fixture
def setting(student, teacher, views):
    return Setting(student, views, Answers(teacher, TAPS), seed=3)


@pytest.fixture
def course_of(small_network, setting):
    """The course of a method for a student of its own, drawn from seed 1."""

    def make(name, parameters=None, **changes):
        changed = replace(setting, **{"student": small_network(1).eval()} | changes)
        return METHODS[name].of(parameters or {}).course(changed)

    return make


@pytest.fixture
def batch(views):
    numbers = torch.arange(64)
    return Batch(numbers, *views[numbers], done=0.5)


@pytest.fixture
def training_of(setting):
    """A training by a method, by default of as many images as teach something."""

    def make(name, parameters=None, images=3000, **changes):
        method = METHODS[name].of(parameters or {})
        return Training(replace(setting, **changes), method, recipe(images=images))

    return make


def recipe(**changes):
    values = {"images": 3000, "pool": 1400, "batch_size": 64, "optimizer": "sgd", "lr": 0.05}
    return Recipe(**(values | {"weight_decay": 5e-4} | changes))
