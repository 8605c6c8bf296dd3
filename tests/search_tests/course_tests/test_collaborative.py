"""Collaborative distillation: who takes part, when and how much they are taught."""

import math
import re
from dataclasses import replace

import pytest
import torch

from pareconv.search.distillation.ramp import ramped
from pareconv.search.distillation.registry import METHODS


def test_the_weight_of_what_peers_say_grows_and_stays():
    assert ramped(0.0, 0.4) == pytest.approx(math.exp(-5))
    assert ramped(0.2, 0.4) == pytest.approx(math.exp(-1.25))
    assert ramped(0.4, 0.4) == ramped(0.9, 0.4) == ramped(0.0, 0.0) == 1


def test_collaborators_are_taught_now_and_then_and_more_as_they_go(course_of, batch):
    course = course_of("collaborative", {"interval": 3, "ramp": 0.8})
    taught = []
    for _ in range(6):
        taught.append("ensemble_0" in course.terms(batch))
        course.after_step(0.5)
    assert taught == [False, False, True, False, False, True]

    often = course_of("collaborative", {"interval": 1, "ramp": 0.8})
    early, late = (often.terms(replace(batch, done=done))["ensemble_0"] for done in (0.2, 0.9))
    torch.testing.assert_close(early, math.exp(-5 * 0.75**2) * late)


def test_collaborators_are_moved_by_the_ensemble_each_through_its_own_term(course_of, batch):
    course = course_of("collaborative", {"interval": 1})
    course.terms(batch)["ensemble_1"].backward()
    first, second = course.networks
    assert all(each.grad is None for each in first.parameters())
    assert all(each.grad is not None for each in second.parameters())


def test_collaborators_are_who_was_named(course_of, small_network, teacher):
    def partners(named, others=()):
        parameters = {"partners": named}
        return course_of("collaborative", parameters, others=lambda: others).networks[1:]

    front = [small_network(7), small_network(8)]
    assert list(partners("front", front)) == front
    (standard,) = partners("front")  # nobody else is on the front
    assert [each.shape for each in standard.parameters()] == [
        each.shape for each in teacher.parameters()
    ]
    *finalists, standard, of_the_zoo = partners("front, standard, cifar_resnet8", front)
    assert finalists == front
    assert of_the_zoo.get_submodule("layer1") is not None
    assert of_the_zoo(torch.zeros(1, 3, 8, 8)).shape == (1, 10)


@pytest.mark.parametrize(
    ("partners", "reason"),
    [
        ("front,front", "'front' is named twice"),
        ("resnet_9000", r"unknown architecture 'resnet_9000'.*; or name front or standard"),
    ],
)
def test_unknown_collaborators_are_refused(partners, reason):
    refused = METHODS["collaborative"].refusals({"partners": partners})["partners"]
    assert re.search(reason, refused)


def test_a_collaborator_that_wants_larger_images_is_a_misfit():
    method = METHODS["collaborative"].of({"partners": "standard,inception_v3"})
    assert "partner inception_v3 needs images of at least" in method.misfit(32)
    assert method.misfit(299) is None
