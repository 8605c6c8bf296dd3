"""The contract of a course, over every registered method: a tiny pair on real digits."""

import pytest
import torch

from pareconv.search.answers import Answers
from pareconv.search.data.views import Views
from pareconv.search.distillation.course import Batch, Setting
from pareconv.search.distillation.registry import BRIEF, METHODS
from pareconv.search.evaluation import evaluate
from pareconv.search.training import Recipe, Training

CHANCE = 0.1
TAPS = ["_2", "_5"]
EVERY = pytest.mark.parametrize("name", sorted(METHODS))


@pytest.fixture
def teacher(small_network, taught_weights):
    network = small_network()
    network.load_state_dict(taught_weights)
    return network.eval().requires_grad_(False)


@pytest.fixture
def views(digit_splits):
    return Views(digit_splits[0], "crop", 0)


@pytest.fixture
def course_of(small_network, teacher):
    """The course of a method for a student drawn from a seed."""

    def make(name, seed=1, **parameters):
        setting = Setting(small_network(seed), Answers(teacher, TAPS), seed=3)
        return METHODS[name].of(parameters).course(setting)

    return make


@pytest.fixture
def batch(views):
    numbers = torch.arange(64)
    return Batch(numbers, *views[numbers])


def recipe(**changes):
    values = {"images": 3000, "pool": 3000, "batch_size": 64, "optimizer": "sgd", "lr": 0.05}
    return Recipe(**(values | {"weight_decay": 5e-4, "seed": 0} | changes))


@EVERY
def test_the_student_comes_first_and_others_are_of_online_methods_alone(name, course_of):
    course = course_of(name)
    assert torch.equal(
        course.networks[0].get_parameter("0.weight"),
        course_of(name).networks[0].get_parameter("0.weight"),
    )
    assert (len(course.networks) > 1) == METHODS[name].online == (name not in BRIEF)


@EVERY
def test_terms_are_named_finite_scalars_that_teach_every_network(name, course_of, batch):
    course = course_of(name)
    terms = course.terms(batch)
    for term, value in terms.items():
        assert term.isidentifier()
        assert value.shape == ()
        assert value.isfinite()
    torch.stack(list(terms.values())).sum().backward()
    for network in course.networks:
        assert all(bool(each.grad.isfinite().all()) for each in network.parameters())
        assert sum(float(each.grad.abs().sum()) for each in network.parameters()) > 0


@EVERY
def test_a_few_dozen_steps_teach_the_student(name, small_network, teacher, views, digit_splits):
    student = small_network(1)
    method = METHODS[name].of({})
    training = Training(student, views, Answers(teacher, TAPS), method, recipe())
    training.run()
    assert not any(module.training for module in student.modules())
    assert evaluate(student, digit_splits[1]).accuracy > 4 * CHANCE


@EVERY
def test_the_same_seed_gives_the_same_student(name, small_network, teacher, views):
    students = [small_network(1), small_network(1)]
    for student in students:
        answers = Answers(teacher, TAPS)
        Training(student, views, answers, METHODS[name].of({}), recipe(images=300)).run()
        torch.rand(3)
    first, second = (student.state_dict() for student in students)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_the_mutual_teacher_is_like_the_teacher_and_knows_nothing(course_of, teacher, batch):
    _, online = course_of("mutual").networks
    shapes = [tuple(each.shape) for each in online.parameters()]
    assert shapes == [tuple(each.shape) for each in teacher.parameters()]
    known, guessed = (net.eval()(batch.images).argmax(1) for net in (teacher, online))
    assert float((known == batch.labels).float().mean()) > 8 * CHANCE
    assert float((guessed == batch.labels).float().mean()) < 4 * CHANCE


def test_mutual_learners_are_moved_by_each_other_each_through_its_own_term(course_of, batch):
    """The divergence that teaches one gives the other no gradient."""
    for term, learner, shown in (("teacher", 0, 1), ("student", 1, 0)):
        course = course_of("mutual")
        course.terms(batch)[term].backward()
        moved, fixed = (list(course.networks[place].parameters()) for place in (learner, shown))
        assert all(each.grad is not None for each in moved)
        assert all(each.grad is None for each in fixed)


def test_both_mutual_learners_learn(small_network, teacher, views, digit_splits):
    training = Training(
        small_network(1), views, Answers(teacher, TAPS), METHODS["mutual"].of({}), recipe()
    )
    training.run()
    for network in training.networks:
        assert evaluate(network, digit_splits[1]).accuracy > 4 * CHANCE
