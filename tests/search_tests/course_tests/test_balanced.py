"""Balanced distillation: rare classes weigh more."""

from dataclasses import replace

import pytest
import torch

from pareconv.search.data.views import Views
from pareconv.search.distillation.registry import METHODS


def test_balanced_weights_are_by_the_effective_number_and_sum_to_the_classes():
    counts = torch.tensor([5000, 500, 50])
    weights = METHODS["balanced"].of({"b": 0.99}).weights(counts)
    by_hand = torch.tensor([0.01 / (1 - 0.99**n) for n in (5000, 500, 50)])
    torch.testing.assert_close(weights, 3 * by_hand / by_hand.sum())
    assert torch.equal(METHODS["balanced"].of({"b": 0.0}).weights(counts), torch.ones(3))


@pytest.fixture
def long_tailed(digit_splits):
    """Views of digits of which there are few nines."""
    train = digit_splits[0]
    rare = (train.labels == 9).nonzero().squeeze(1)
    kept = torch.ones(len(train), dtype=torch.bool)
    kept[rare[5:]] = False
    return Views(replace(train, images=train.images[kept], labels=train.labels[kept]), "none", 0)


def test_balanced_targets_lean_to_rare_classes_once_it_is_time(course_of, long_tailed, batch):
    """What the student is pulled to, read off the gradient of the teacher's term."""

    def pull(done, **parameters):
        course = course_of("balanced", parameters, views=long_tailed)
        course.terms(replace(batch, done=done))["teacher"].backward()
        (student,) = course.networks
        return -student.get_parameter("8.bias").grad

    assert pull(0.9)[9] > pull(0.9, b=0.0)[9]
    torch.testing.assert_close(pull(0.5, deferred=0.8), pull(0.5, b=0.0))
    torch.testing.assert_close(pull(0.8, deferred=0.8), pull(0.8))
