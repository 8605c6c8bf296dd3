"""The online ensemble: students of one plan and the head on their features."""

import pytest
import torch


def test_students_of_an_ensemble_are_of_one_plan_and_start_apart(course_of, small_network):
    course = course_of("online_ensemble", {"students": 3})
    assert len(course.networks) == 3
    firsts = [network.get_parameter("0.weight") for network in course.networks]
    assert torch.equal(firsts[0], small_network(1).get_parameter("0.weight"))
    assert not any(torch.equal(firsts[a], firsts[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert course.head.linear.in_features == 3 * 24  # channels of the last stage


@pytest.mark.parametrize("detached", [False, True])
def test_the_divergence_of_an_ensemble_reaches_its_head_unless_detached(course_of, batch, detached):
    course = course_of("online_ensemble", {"detached": detached})
    course.terms(batch)["head_1"].backward()
    reached = [each.grad is not None for each in course.head.parameters()]
    assert set(reached) == {not detached}
    # And through the head the students that it does not teach.
    assert (course.networks[2].get_parameter("0.weight").grad is not None) == (not detached)
    assert course.networks[1].get_parameter("0.weight").grad is not None


def test_the_mean_over_classes_too_weighs_a_tenth_of_ten(course_of, batch):
    mean, batchmean = (
        course_of("online_ensemble", {"reduction": reduction}).terms(batch)
        for reduction in ("mean", "batchmean")
    )
    for name, value in mean.items():
        share = 0.1 if name.startswith("head_") and name != "head_labels" else 1
        torch.testing.assert_close(value, share * batchmean[name])
