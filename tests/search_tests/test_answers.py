import pytest
import torch

from pareconv.search import answers as module
from pareconv.search.answers import Answers, Listener
from pareconv.search.data.views import Views

TAPS = ["_2", "_5"]  # the outputs of the two blocks
BYTES_PER_VIEW = 4 * (10 + 12 * 8 * 8 + 24 * 4 * 4)  # at most: features may be kept in half of it


@pytest.fixture
def teacher(small_network):
    return small_network(3).eval()


@pytest.fixture
def views(digit_splits):
    return Views(digit_splits[0], "crop", 0)


@pytest.fixture
def answers(teacher):
    return Answers(teacher, TAPS)


def said(teacher, images):
    with torch.no_grad():
        return Listener(teacher, TAPS)(images)


def assert_alike(found, expected):
    """Apart from what the size of a batch may change at the precision that teachers answer in."""
    pairs = zip((found.logits, *found.features), (expected.logits, *expected.features), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one.float(), other.float(), atol=5e-2, rtol=5e-2)


def ask(answers, views, numbers):
    return answers(numbers, views[numbers][0])


def test_an_answer_is_the_teachers_without_a_gradient(answers, teacher, views):
    numbers = torch.tensor([5, 1, 2000, 77])
    images = views[numbers][0]
    found = answers(numbers, images)
    assert_alike(found, said(teacher, images))
    with torch.no_grad():
        torch.testing.assert_close(found.logits, teacher(images), atol=5e-2, rtol=5e-2)
    assert found.logits.shape == (4, 10)
    assert [part.shape for part in found.features] == [(4, 12, 8, 8), (4, 24, 4, 4)]
    assert not any(part.requires_grad for part in (found.logits, *found.features))


def test_without_taps_there_are_logits_alone(teacher, views):
    found = ask(Answers(teacher, []), views, torch.arange(10))
    assert found.features == ()
    assert found.logits.shape == (10, 10)


def test_each_view_is_asked_once(answers, views):
    first = ask(answers, views, torch.arange(0, 100))
    assert answers.asked == 100
    again = ask(answers, views, torch.arange(99, -1, -1))
    assert answers.asked == 100
    for one, other in zip(again.features, first.features, strict=True):
        assert torch.equal(one.flip(0), other)
    assert torch.equal(again.logits.flip(0), first.logits)


def test_of_a_batch_only_what_is_new_is_asked(answers, teacher, views):
    ask(answers, views, torch.arange(0, 100, 2))
    mixed = ask(answers, views, torch.arange(100))
    assert answers.asked == 100
    assert_alike(mixed, said(teacher, views[torch.arange(100)][0]))


def test_beyond_the_bound_answers_are_right_and_not_kept(teacher, views, monkeypatch):
    monkeypatch.setattr(module, "_MOST_BYTES", 50 * BYTES_PER_VIEW)
    answers = Answers(teacher, TAPS)
    for numbers in (torch.arange(50), torch.arange(180, 230), torch.arange(200, 210)):
        for _ in range(2):
            assert_alike(ask(answers, views, numbers), said(teacher, views[numbers][0]))
    assert answers.asked == 50 + 2 * (50 + 10)


def test_of_a_batch_only_what_is_beyond_the_bound_is_asked_again(teacher, views, monkeypatch):
    monkeypatch.setattr(module, "_MOST_BYTES", 50 * BYTES_PER_VIEW)
    answers = Answers(teacher, TAPS)
    numbers = torch.tensor([270, 3, 151, 49, 220, 0])
    for asked in (6, 9):
        assert_alike(ask(answers, views, numbers), said(teacher, views[numbers][0]))
        assert answers.asked == asked


def test_a_batch_half_within_the_bound_is_right(teacher, views, monkeypatch):
    monkeypatch.setattr(module, "_MOST_BYTES", 50 * BYTES_PER_VIEW)
    answers = Answers(teacher, TAPS)
    for numbers in (torch.arange(20, 130), torch.arange(10, 40), torch.arange(20, 130)):
        assert_alike(ask(answers, views, numbers), said(teacher, views[numbers][0]))


def test_a_teacher_left_in_training_mode_answers_as_in_use(small_network, views):
    teacher = small_network(3)
    numbers = torch.arange(30)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    found = ask(Answers(teacher.train(), TAPS), views, numbers)
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    assert_alike(found, said(teacher.eval(), views[numbers][0]))
