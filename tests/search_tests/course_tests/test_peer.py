"""Peer collaborative learning: a common stem, views and averages of their own."""

import math
from dataclasses import replace

import torch


def test_peers_share_their_stem_and_nothing_else(course_of):
    first, *others = course_of("peer").networks
    assert len(others) == 2
    for other in others:
        assert other.get_submodule("0") is first.get_submodule("0")
        assert not torch.equal(other.get_parameter("3.weight"), first.get_parameter("3.weight"))
        assert not torch.equal(other.get_parameter("8.weight"), first.get_parameter("8.weight"))


def test_each_peer_sees_the_images_moved_in_a_way_of_its_own(course_of, batch):
    course = course_of("peer")
    seen = []
    course.networks[0].get_submodule("0").register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0])
    )
    course.terms(batch)
    assert torch.equal(seen[0], batch.images)
    assert not any(torch.equal(seen[a], seen[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    again = [each.clone() for each in seen[:3]]
    seen.clear()
    course.terms(batch)
    assert all(torch.equal(*pair) for pair in zip(again, seen, strict=False))


def test_the_means_of_peers_move_as_their_formula_says(course_of):
    """A quarter of ten steps is remembered: decay = min(1 - 1 / (step + 1), 1 - 1 / 2.5) at step 0,
    1, 2, 3.
    """
    course = course_of("peer", {"memory": 0.25})
    weight = course.networks[1].get_parameter("8.weight")
    expected = None
    for step, decay in enumerate((0.0, 0.5, 0.6, 0.6)):
        with torch.no_grad():
            weight.fill_(float(step + 1))
        course.after_step((step + 1) / 10)
        expected = step + 1 if expected is None else decay * expected + (1 - decay) * (step + 1)
        found = course.averages[1].module.get_parameter("8.weight")
        torch.testing.assert_close(found, torch.full_like(found, expected))
    assert course.deployed is course.averages[0].module


def test_what_peers_say_teaches_with_a_weight_that_grows(course_of, batch):
    course = course_of("peer", {"ramp": 0.8})
    early, late = (course.terms(replace(batch, done=done)) for done in (0.2, 0.9))
    share = math.exp(-5 * 0.75**2)
    for term, value in late.items():
        torch.testing.assert_close(early[term], (1 if "labels" in term else share) * value)
