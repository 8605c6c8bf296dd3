"""Curriculum: which images come, and when they are scored."""

from itertools import islice

import pytest
import torch
import torch.nn.functional as F

from pareconv.search.distillation.registry import METHODS


@pytest.fixture
def order_of(course_of, views, taught_weights):
    """The numbers that a curriculum shows a student who knows most of the digits."""

    def make(**parameters):
        course = course_of("curriculum", parameters)
        course.networks[0].load_state_dict(taught_weights)
        return course, course.order(1280, len(views.split), 64, 0)

    return make


def difficulties(network, views, numbers):
    images, labels = views[numbers]
    with torch.no_grad():
        return F.cross_entropy(network.eval()(images), labels, reduction="none")


def test_a_curriculum_shows_the_easiest_first_and_at_last_all(order_of, views):
    course, order = order_of(phases=4, easiest=0.25, warm_up=0.0)
    batches = list(order)
    phases = [torch.cat(batches[start : start + 5]) for start in range(0, 20, 5)]
    means = [float(difficulties(course.networks[0], views, each).mean()) for each in phases]
    assert means == sorted(means)
    every = difficulties(course.networks[0], views, torch.arange(len(views.split)))
    assert float(difficulties(course.networks[0], views, phases[0]).max()) <= every.quantile(0.26)


def test_a_curriculum_begins_in_random_order(order_of, views):
    _, order = order_of(warm_up=0.5)
    first = torch.cat(list(islice(order, 10)))
    assert len(set(first.tolist())) == len(first)
    assert first.float().mean() == pytest.approx(len(views.split) / 2, rel=0.1)


def test_a_curriculum_asks_the_student_as_it_is_when_a_phase_begins(order_of, views):
    """What it has come to know best comes next."""
    course, order = order_of(phases=10, easiest=0.1, warm_up=0.0)
    before = torch.cat(list(islice(order, 2)))
    with torch.no_grad():
        course.networks[0].get_parameter("8.bias")[3] += 20  # now it takes all for threes
    after = torch.cat(list(islice(order, 2)))
    threes = [int((views[each][1] == 3).sum()) for each in (before, after)]
    assert threes[0] < 0.3 * len(before)
    # There are 146 of them, half of the images of the second phase.
    assert threes[1] > 0.4 * len(after)


def test_a_curriculum_wraps_other_methods_with_their_parameters(course_of, batch):
    plain = course_of("kd", {"alpha": 0.3}).terms(batch)
    wrapped = course_of("curriculum", {"alpha": 0.3}).terms(batch)
    assert all(torch.equal(wrapped[name], value) for name, value in plain.items())
    online = METHODS["curriculum"].of({"method": "online_ensemble", "students": 3})
    assert online.online
    assert METHODS["curriculum"].refusals({"method": "mutual", "alpha": 1.0}) == {
        "alpha": "mutual has no parameter 'alpha'; it has: temperature"
    }
    assert "curriculum" not in METHODS["curriculum"].parameters[0].choices


def test_a_curriculum_counts_what_it_scores(training_of, views):
    training = training_of("curriculum", {"phases": 3, "warm_up": 0.1}, images=1280)
    training.run()
    # The pool of views holds nearly every image, which is scored before each phase.
    assert training.compute(lambda _: 1.0) == 3 * 1280 + 3 * 1400
