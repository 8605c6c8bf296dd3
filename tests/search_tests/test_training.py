import math
import re

import pytest
import torch
import torch.nn.functional as F

from pareconv.search.answers import Answers, Listener
from pareconv.search.data.views import Views
from pareconv.search.distillation.features import FeatureDistillation
from pareconv.search.distillation.kd import LogitDistillation
from pareconv.search.distillation.labels import Labels
from pareconv.search.distillation.plain import PlainMethod
from pareconv.search.distillation.registry import METHODS
from pareconv.search.distillation.setting import Setting
from pareconv.search.errors import Diverged
from pareconv.search.evaluation import evaluate
from pareconv.search.training import Recipe, Training

CHANCE = 0.1
TAPS = ["_2", "_5"]  # the outputs of the two blocks
KD = LogitDistillation(temperature=4.0, alpha=0.9)


class Counting(PlainMethod):
    """Labels alone, noting how many images each step shows, and whether a teacher came along."""

    name = "counting"
    summary = formula = cost = source = when = "for tests"

    def __init__(self, needs_teacher=True):
        self.sizes = []
        self.features = []
        self.teachers = []
        self.needs_teacher = needs_teacher

    def terms(self, lesson):
        self.sizes.append(len(lesson.labels))
        self.teachers.append(lesson.teacher)
        self.features.append(lesson.student.features)
        return {"labels": F.cross_entropy(lesson.student.logits, lesson.labels)}


def recipe(**changes):
    values = {
        "images": 2000,
        "batch_size": 64,
        "optimizer": "sgd",
        "lr": 0.1,
        "weight_decay": 5e-4,
    }
    values |= {"pool": changes.get("images", values["images"])}
    return Recipe(**(values | changes))


def training(student, teacher, split, method, recipe, *, augment="none", seed=0, progress=None):
    """About to teach; the order of the images and their views follow the seed."""
    answers = Answers(teacher, TAPS) if teacher else None
    setting = Setting(student, Views(split, augment, seed), answers, seed)
    return Training(setting, method, recipe, progress=progress)


def train(*arguments, **options):
    return training(*arguments, **options).run()


def state_of(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.fixture
def teacher(small_network, digit_splits):
    network = small_network(9)
    train(network, None, digit_splits[0], Labels(), recipe(images=6000))
    return network


def test_the_loss_falls_and_the_accuracy_rises(small_network, digit_splits):
    network, losses = small_network(), []
    untrained = evaluate(network, digit_splits[1])
    final = train(
        network,
        None,
        digit_splits[0],
        Labels(),
        recipe(images=6000),
        progress=lambda _, loss: losses.append(loss),
    )
    assert losses == sorted(losses, reverse=True)
    assert final == losses[-1] < 0.5 * losses[0]
    trained = evaluate(network, digit_splits[1])
    assert untrained.accuracy < 3 * CHANCE < 8 * CHANCE < trained.accuracy
    assert trained.loss < untrained.loss


def test_a_student_learns_from_the_teacher_alone(small_network, digit_splits, teacher):
    """Labels have no weight here: what the student knows, it has from the teacher."""
    student = small_network(1)
    taught = LogitDistillation(temperature=4.0, alpha=1.0)
    train(student, teacher, digit_splits[0], taught, recipe(images=6000))
    assert evaluate(student, digit_splits[1]).accuracy > 8 * CHANCE


@pytest.mark.parametrize("augment", ["none", "crop-flip"])
def test_the_same_seed_gives_the_same_weights_to_the_bit(
    augment, small_network, digit_splits, teacher
):
    students = [small_network(1), small_network(1)]
    for student in students:
        train(student, teacher, digit_splits[0], KD, recipe(images=500), augment=augment)
        torch.rand(3)  # whatever else draws random numbers between two trainings
    first, second = map(state_of, students)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_another_seed_gives_other_weights(small_network, digit_splits):
    students = [small_network(1), small_network(1)]
    for seed, student in enumerate(students):
        train(student, None, digit_splits[0], Labels(), recipe(images=500), seed=seed)
    assert not torch.equal(*(each.get_parameter("0.weight") for each in students))


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_teacher_is_only_looked_at(name, small_network, digit_splits, teacher):
    """Also one that could be trained, and was left in training mode."""
    teacher.train().requires_grad_(True).zero_grad()
    before = state_of(teacher)
    taught = METHODS[name].of({})
    train(small_network(1), teacher, digit_splits[0], taught, recipe(images=300))
    after = state_of(teacher)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_the_student_is_left_in_eval_mode(small_network, digit_splits):
    student = small_network()
    train(student, None, digit_splits[0], Labels(), recipe(images=100))
    assert not any(module.training for module in student.modules())


@pytest.mark.parametrize(
    ("images", "batch_size", "expected"),
    [
        (640, 64, [64] * 10),
        (100, 64, [64, 36]),
        (129, 64, [64, 65]),  # batch norm cannot train on one image
        (2, 64, [2]),
        (3000, 1000, [1000] * 3),  # more than the split has
    ],
)
def test_as_many_images_are_shown_as_the_recipe_says(
    images, batch_size, expected, small_network, digit_splits
):
    counting = Counting()
    asked = recipe(images=images, batch_size=batch_size)
    train(small_network(), None, digit_splits[0], counting, asked)
    assert counting.sizes == expected
    assert sum(counting.sizes) == images


def test_the_teachers_logits_come_without_a_gradient(small_network, digit_splits, teacher):
    counting = Counting()
    train(small_network(), teacher, digit_splits[0], counting, recipe(images=64))
    shown = counting.teachers[0]
    assert shown.logits.shape == (64, 10)
    assert not any(each.requires_grad for each in (shown.logits, *shown.features))


def test_a_method_that_needs_no_teacher_is_shown_none(small_network, digit_splits, teacher):
    counting = Counting(needs_teacher=False)
    train(small_network(), teacher, digit_splits[0], counting, recipe(images=64))
    assert counting.teachers == [None]


def test_progress_rises_to_one(small_network, digit_splits):
    reports = []
    train(
        small_network(),
        None,
        digit_splits[0],
        Labels(),
        recipe(images=50 * 32, batch_size=32),
        progress=lambda done, loss: reports.append((done, loss)),
    )
    assert [done for done, _ in reports] == [0.4, 0.8, 1.0]
    assert all(math.isfinite(loss) for _, loss in reports)


def test_a_huge_learning_rate_is_reported_as_divergence(small_network, digit_splits):
    student = small_network()
    with pytest.raises(Diverged, match=r"the training loss became (nan|inf)") as caught:
        train(student, None, digit_splits[0], Labels(), recipe(lr=1e30))
    steps = int(re.search(r"within (\d+) steps", str(caught.value))[1])
    assert 1 <= steps <= 32
    assert "lower learning rate" in str(caught.value)


def test_training_in_parts_is_training_at_once(small_network, digit_splits, teacher):
    """To the bit, also where somebody looks at the student in between."""
    whole, parts = small_network(1), small_network(1)
    train(whole, teacher, digit_splits[0], KD, recipe(images=700))
    taught = training(parts, teacher, digit_splits[0], KD, recipe(images=700))
    shown = []
    for share in (0.25, 0.5, 1.0):
        taught.run(share)
        evaluate(parts, digit_splits[1])
        shown.append(taught.images)
    first, second = state_of(whole), state_of(parts)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert shown == [192, 384, 700]


def test_only_the_first_views_of_the_pool_are_shown(small_network, digit_splits, teacher):
    """The teacher answers each once, however often it is shown."""
    answers = Answers(teacher, TAPS)
    views = Views(digit_splits[0], "crop", 0)
    setting = Setting(small_network(), views, answers, seed=0)
    Training(setting, KD, recipe(images=640, pool=128)).run()
    assert answers.asked == 128


def test_without_averaging_the_average_is_the_student(small_network, digit_splits):
    student = small_network()
    taught = training(student, None, digit_splits[0], Labels(), recipe(images=200))
    taught.run()
    assert taught.deployed is student


def test_averaged_weights_lag_behind_and_do_not_change_the_training(small_network, digit_splits):
    plain, student = small_network(), small_network()
    train(plain, None, digit_splits[0], Labels(), recipe())
    taught = training(student, None, digit_splits[0], Labels(), recipe(averaging=0.5))
    taught.run()
    last, averaged, first = map(state_of, (student, taught.deployed, small_network()))
    assert all(torch.equal(last[name], value) for name, value in state_of(plain).items())
    weight = "0.weight"
    assert 0 < (averaged[weight] - last[weight]).norm() < (first[weight] - last[weight]).norm()
    assert evaluate(taught.deployed, digit_splits[1]).accuracy > 3 * CHANCE


def test_a_student_learns_from_the_features_of_the_teacher(small_network, digit_splits, teacher):
    """Nearer to the teacher's blocks than one that saw its logits alone."""
    views = Views(digit_splits[0], "none", 0)
    images = views[torch.arange(200)][0]
    distances = []
    for beta in (0.0, 100.0):
        student, answers = small_network(1), Answers(teacher, TAPS)
        method = FeatureDistillation.of({"temperature": 4.0, "alpha": 1.0, "beta": beta})
        Training(Setting(student, views, answers, seed=0), method, recipe(lr=0.02)).run()
        with torch.no_grad():
            own, shown = Listener(student, TAPS)(images), answers(torch.arange(200), images)
        distances.append(
            [
                float((one.float() - other.float()).square().mean())
                for one, other in zip(own.features, shown.features, strict=True)
            ]
        )
    assert all(near < far for far, near in zip(*distances, strict=True))


def test_a_method_of_logits_is_shown_no_features(small_network, digit_splits, teacher):
    counting = Counting()
    views, answers = Views(digit_splits[0], "none", 0), Answers(teacher, TAPS)
    Training(Setting(small_network(), views, answers, seed=0), counting, recipe(images=64)).run()
    assert counting.features == [()]
