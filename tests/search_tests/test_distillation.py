import math
import re

import pytest
import torch

from pareconv.search.answers import Answer
from pareconv.search.distillation.base import Method
from pareconv.search.distillation.features import FeatureDistillation
from pareconv.search.distillation.kd import LogitDistillation
from pareconv.search.distillation.plain import Lesson, PlainMethod
from pareconv.search.distillation.registry import METHODS, method, registered

PLAIN = {name: found for name, found in METHODS.items() if issubclass(found, PlainMethod)}
EVERY = pytest.mark.parametrize("name", sorted(METHODS))
EVERY_PLAIN = pytest.mark.parametrize("name", sorted(PLAIN))


@pytest.fixture
def lesson():
    """Eight images of five classes, with the features of two stages."""
    generator = torch.Generator().manual_seed(0)

    def answer(scale):
        shapes = (8, 5), (8, 4, 6, 6), (8, 6, 3, 3)
        logits, *features = (scale * torch.randn(shape, generator=generator) for shape in shapes)
        return Answer(logits, tuple(features))

    student = through(answer(1), lambda part: part.requires_grad_(True))
    return Lesson(student, torch.randint(0, 5, (8,), generator=generator), answer(3))


def through(answer, change):
    return Answer(change(answer.logits), tuple(map(change, answer.features)))


def lesson_of(student, labels, teacher):
    """A lesson of logits alone."""
    return Lesson(Answer(student, ()), labels, Answer(teacher, ()))


def by_default(name) -> Method:
    return METHODS[name].of({})


def total(terms):
    return torch.stack(list(terms.values())).sum()


@EVERY_PLAIN
def test_terms_are_named_finite_scalars(name, lesson):
    terms = by_default(name).terms(lesson)
    assert terms
    for term, value in terms.items():
        assert term.isidentifier()
        assert value.shape == ()
        assert value.isfinite()
        assert value >= 0


@EVERY_PLAIN
def test_the_loss_teaches_the_student(name, lesson):
    total(by_default(name).terms(lesson)).backward()
    taught = [lesson.student.logits]
    if METHODS[name].needs_features:
        taught += lesson.student.features
    for part in taught:
        assert part.grad.isfinite().all()
        assert part.grad.abs().sum() > 0


@EVERY_PLAIN
def test_following_the_gradient_lowers_the_loss(name, lesson):
    taught = by_default(name)
    before = total(taught.terms(lesson))
    before.backward()
    moved = through(
        lesson.student,
        lambda part: part.detach() - 0.1 * (0 if part.grad is None else part.grad),
    )
    assert total(taught.terms(Lesson(moved, lesson.labels, lesson.teacher))) < before


@EVERY_PLAIN
def test_the_loss_does_not_depend_on_the_order_of_the_batch(name, lesson):
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    shuffled = Lesson(lesson.student[order], lesson.labels[order], lesson.teacher[order])
    taught = by_default(name)
    torch.testing.assert_close(total(taught.terms(shuffled)), total(taught.terms(lesson)))


@EVERY_PLAIN
def test_the_loss_is_a_mean_over_the_batch(name, lesson):
    twice = Lesson(
        through(lesson.student, lambda part: torch.cat([part, part])),
        torch.cat([lesson.labels, lesson.labels]),
        through(lesson.teacher, lambda part: torch.cat([part, part])),
    )
    taught = by_default(name)
    torch.testing.assert_close(total(taught.terms(twice)), total(taught.terms(lesson)))


@EVERY_PLAIN
def test_extreme_logits_stay_finite(name, lesson):
    student, teacher = (
        through(answer, lambda part: 1e4 * part) for answer in (lesson.student, lesson.teacher)
    )
    extreme = Lesson(student, lesson.labels, teacher)
    assert total(by_default(name).terms(extreme)).isfinite()


@EVERY_PLAIN
def test_a_method_that_needs_no_teacher_ignores_it(name, lesson):
    taught = by_default(name)
    other = Lesson(lesson.student, lesson.labels, through(lesson.teacher, torch.neg))
    is_same = bool(total(taught.terms(other)) == total(taught.terms(lesson)))
    assert is_same is not taught.needs_teacher


@EVERY_PLAIN
def test_every_parameter_reaches_the_method(name, lesson):
    for parameter in METHODS[name].parameters:
        other = parameter.choices[-1:] or (0.5 * (parameter.low + parameter.high),)
        changed = METHODS[name].of({parameter.name: other[0]})
        assert total(changed.terms(lesson)) != total(by_default(name).terms(lesson))


@EVERY
def test_a_parameter_outside_its_bounds_is_refused(name):
    found = METHODS[name]

    def refusal(parameter, value):
        return found.refusals({parameter.name: value}).get(parameter.name)

    for parameter in found.parameters:
        assert refusal(parameter, parameter.default) is None
        assert refusal(parameter, "much")
        if isinstance(parameter.default, bool):
            assert "neither true nor false" in refusal(parameter, 1.0)
        elif parameter.choices:
            assert all(refusal(parameter, word) is None for word in parameter.choices)
            assert ", ".join(parameter.choices) in refusal(parameter, "much")
        elif isinstance(parameter.default, str):
            assert "is no text" in refusal(parameter, 1.0)
        else:
            assert refusal(parameter, parameter.low) is None
            assert refusal(parameter, parameter.high) is None
            outside = f"is outside {parameter.low} to {parameter.high}"
            assert outside in refusal(parameter, parameter.high + 1)
            if isinstance(parameter.default, int):
                assert "is not whole" in refusal(parameter, float(parameter.low))
    unknown = found.refusals({"speed": 1.0})["speed"]
    assert re.fullmatch(r"\w+ has no parameter 'speed'; it has: .+", unknown)


@EVERY
def test_it_describes_itself(name):
    described = METHODS[name].describe()
    assert described["name"] == name
    for key in ("summary", "formula", "cost", "source", "when"):
        assert described[key].strip()
    declared = {parameter.name for parameter in METHODS[name].parameters}
    assert {shown["name"] for shown in described["parameters"]} == declared
    for shown in described["parameters"]:
        assert set(shown) == {"name", "default", "low", "high", "description", "choices"}
        assert shown["description"]


@pytest.mark.parametrize("temperature", [1.0, 4.0, 10.0])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_kd_is_the_formula_of_the_paper(temperature, alpha, lesson):
    taught = LogitDistillation(temperature=temperature, alpha=alpha)
    student, labels, teacher = (part.tolist() for part in _parts(lesson))
    expected_labels, expected_teacher = 0.0, 0.0
    for own, label, shown in zip(student, labels, teacher, strict=True):
        expected_labels -= math.log(softmax(own, 1)[label]) / len(labels)
        pairs = zip(softmax(shown, temperature), softmax(own, temperature), strict=True)
        expected_teacher += sum(p * math.log(p / q) for p, q in pairs) / len(labels)
    terms = taught.terms(lesson_of(*(_double(part) for part in _parts(lesson))))
    assert float(terms["labels"]) == pytest.approx((1 - alpha) * expected_labels)
    assert float(terms["teacher"]) == pytest.approx(alpha * temperature**2 * expected_teacher)


def test_kd_has_nothing_to_teach_a_student_that_agrees(lesson):
    agreeing = lesson_of(lesson.teacher.logits + 7, lesson.labels, lesson.teacher.logits)
    assert float(by_default("kd").terms(agreeing)["teacher"]) == pytest.approx(0, abs=1e-5)


def test_the_weight_of_soft_labels_hardly_depends_on_the_temperature(lesson):
    """What the factor T^2 is for: without it the gradient would fall with 1 / T^2."""
    norms = []
    for temperature in (5.0, 50.0):
        student = lesson.student.logits.detach().clone().requires_grad_(True)
        taught = LogitDistillation(temperature=temperature, alpha=1.0)
        total(taught.terms(lesson_of(student, lesson.labels, lesson.teacher.logits))).backward()
        norms.append(float(student.grad.norm()))
    assert 0.5 < norms[0] / norms[1] < 2


def test_features_are_compared_relative_to_the_teachers(lesson):
    """One stage is the teacher's, the other is off by half of it."""
    shown = through(lesson.teacher, lambda part: part)
    own = Answer(shown.logits, (shown.features[0], 1.5 * shown.features[1]))
    terms = FeatureDistillation.of({"beta": 10}).terms(Lesson(own, lesson.labels, shown))
    assert float(terms["features"]) == pytest.approx(10 * (0 + 0.25) / 2)


def test_features_may_be_compared_by_their_direction_alone(lesson):
    """Half as long they point where the teacher's do; turned round they are as far as can be."""
    shown = lesson.teacher
    for factor, apart in ((0.5, 0.0), (-1.0, 2.0)):
        own = through(shown, lambda part, factor=factor: factor * part)
        method = FeatureDistillation.of({"beta": 10, "distance": "cosine"})
        found = method.terms(Lesson(own, lesson.labels, shown))["features"]
        assert float(found) == pytest.approx(10 * apart, abs=1e-5)


def test_features_are_learnt_beside_the_logits(lesson):
    """A stage that is silent in the teacher divides nothing by zero."""
    silent = Answer(lesson.teacher.logits, tuple(map(torch.zeros_like, lesson.teacher.features)))
    terms = by_default("features").terms(Lesson(lesson.student, lesson.labels, silent))
    alone = by_default("kd").terms(Lesson(lesson.student, lesson.labels, silent))
    assert terms["features"].isfinite()
    assert all(torch.equal(terms[name], value) for name, value in alone.items())


def test_attention_is_where_a_stage_is_strong_not_in_which_channels(lesson):
    """Channels in another order, each image on its own scale: the maps are the same."""
    shown = through(lesson.teacher, lambda part: part)
    moved = (shown.features[0].flip(1), shown.features[1] * torch.arange(1, 9)[:, None, None, None])
    terms = by_default("attention").terms(Lesson(Answer(shown.logits, moved), lesson.labels, shown))
    assert float(terms["attention"]) == pytest.approx(0, abs=1e-6)


def test_attention_is_the_formula_of_its_code(lesson):
    own, shown = (
        [part.detach().double() for part in each.features]
        for each in (lesson.student, lesson.teacher)
    )
    expected = 0.0
    for one, other in zip(own, shown, strict=True):
        maps = [(part**2).mean(1).flatten(1) for part in (one, other)]
        first, second = (each / each.norm(dim=1, keepdim=True) for each in maps)
        expected += float((first - second).square().mean())
    found = METHODS["attention"].of({"beta": 7}).terms(lesson)["attention"].detach()
    assert float(found) == pytest.approx(7 * 3 * expected / 2, rel=1e-4)


def test_an_unknown_method_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown method 'hints'; known: attention, .*kd, labels"):
        method("hints")


def test_two_methods_of_one_name_are_an_error():
    with pytest.raises(ValueError, match="two methods are named 'kd'"):
        registered(LogitDistillation, LogitDistillation)


def _parts(lesson):
    """Logits and labels."""
    return lesson.student.logits.detach(), lesson.labels, lesson.teacher.logits


def _double(part):
    return part.double() if part.is_floating_point() else part


def softmax(logits, temperature):
    powers = [math.exp(logit / temperature) for logit in logits]
    return [power / sum(powers) for power in powers]
