"""The contract of a course, over every registered method: a tiny pair on real digits."""

from dataclasses import replace

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
def course_of(small_network, teacher, batch):
    """The course of a method for a student drawn from a seed."""

    def make(name, seed=1, counts=(100,) * 10, **parameters):
        answers, sample = Answers(teacher, TAPS), batch.images[:2]
        setting = Setting(small_network(seed), answers, sample, torch.tensor(counts), seed=3)
        return METHODS[name].of(parameters).course(setting)

    return make


@pytest.fixture
def batch(views):
    numbers = torch.arange(64)
    return Batch(numbers, *views[numbers], done=0.5)


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
    for network in (*course.networks, *course.extras):
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


def test_students_of_an_ensemble_are_of_one_plan_and_start_apart(course_of, small_network):
    course = course_of("online_ensemble", students=3)
    assert len(course.networks) == 3
    firsts = [network.get_parameter("0.weight") for network in course.networks]
    assert torch.equal(firsts[0], small_network(1).get_parameter("0.weight"))
    assert not any(torch.equal(firsts[a], firsts[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert course.head.linear.in_features == 3 * 24  # channels of the last stage


@pytest.mark.parametrize("detached", [False, True])
def test_the_divergence_of_an_ensemble_reaches_its_head_unless_detached(course_of, batch, detached):
    course = course_of("online_ensemble", detached=detached)
    course.terms(batch)["head_1"].backward()
    reached = [each.grad is not None for each in course.head.parameters()]
    assert set(reached) == {not detached}
    # And through the head the students that it does not teach.
    assert (course.networks[2].get_parameter("0.weight").grad is not None) == (not detached)
    assert course.networks[1].get_parameter("0.weight").grad is not None


def test_the_mean_over_classes_too_weighs_a_tenth_of_ten(course_of, batch):
    mean, batchmean = (
        course_of("online_ensemble", reduction=reduction).terms(batch)
        for reduction in ("mean", "batchmean")
    )
    for name, value in mean.items():
        share = 0.1 if name.startswith("head_") and name != "head_labels" else 1
        torch.testing.assert_close(value, share * batchmean[name])


def test_the_head_is_not_part_of_what_is_deployed(small_network, teacher, views):
    student = small_network(1)
    before = set(student.state_dict())
    method = METHODS["online_ensemble"].of({})
    Training(student, views, Answers(teacher, TAPS), method, recipe(images=200)).run()
    assert set(student.state_dict()) == before


def test_balanced_weights_are_by_the_effective_number_and_sum_to_the_classes():
    counts = torch.tensor([5000, 500, 50])
    weights = METHODS["balanced"].of({"b": 0.99}).weights(counts)
    by_hand = torch.tensor([0.01 / (1 - 0.99**n) for n in (5000, 500, 50)])
    torch.testing.assert_close(weights, 3 * by_hand / by_hand.sum())
    assert torch.equal(METHODS["balanced"].of({"b": 0.0}).weights(counts), torch.ones(3))


def test_balanced_targets_lean_to_rare_classes_once_it_is_time(course_of, batch):
    """What the student is pulled to, read off the gradient of the teacher's term."""
    counts = (1000,) * 9 + (10,)

    def pull(done, **parameters):
        course = course_of("balanced", counts=counts, **parameters)
        course.terms(replace(batch, done=done))["teacher"].backward()
        (student,) = course.networks
        return -student.get_parameter("8.bias").grad

    assert pull(0.9)[9] > pull(0.9, b=0.0)[9]
    torch.testing.assert_close(pull(0.5, deferred=0.8), pull(0.5, b=0.0))
    torch.testing.assert_close(pull(0.8, deferred=0.8), pull(0.8))
