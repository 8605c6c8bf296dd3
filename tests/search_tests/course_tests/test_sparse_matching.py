"""Sparse representation matching: phases, dictionaries, codewords."""

from dataclasses import replace

import pytest
import torch

from pareconv.search.answers import Listener

TAPS = ["_2", "_5"]


def test_sparse_matching_goes_through_its_phases(course_of, batch):
    course = course_of("sparse_matching")
    shown = [set(course.terms(replace(batch, done=done))) for done in (0.05, 0.2, 0.7)]
    assert shown == [{"dictionary"}, {"matching"}, {"labels", "teacher"}]


def test_dictionaries_learn_to_give_the_teachers_features_back(training_of):
    training = training_of("sparse_matching", {"matching": 1.0, "distilling": 1.0}, images=2000)
    first, last = training.run(0.1), training.run(1.0)
    assert last < 0.8 * first


def test_a_pixel_keeps_only_its_largest_similarities(course_of):
    course = course_of("sparse_matching", {"mu": 2.0, "nu": 0.25})
    for dictionary, channels in zip(course.teachers, (12, 24), strict=True):
        assert dictionary.codewords.shape == (channels, 2 * channels)
        similar = torch.rand(2, 2 * channels, 3, 3)
        kept = dictionary.largest(similar)
        assert torch.equal((kept > 0).sum(1), torch.full((2, 3, 3), channels // 2))
        assert torch.equal(kept.amax(1), similar.amax(1))


def test_similarities_are_told_apart_however_long_the_teachers_features_are(
    course_of, teacher, batch
):
    with torch.no_grad():
        teacher.get_parameter("4.weight").mul_(100)  # the last stage's norm
    course = course_of("sparse_matching")
    for dictionary, node in zip(course.teachers, TAPS, strict=True):
        pixels = dictionary.scaled(Listener(teacher, [node])(batch.images).features[0])
        assert float(pixels.square().sum(1).mean()) == pytest.approx(4, rel=0.2)
        assert float((dictionary.similarities(pixels) == 1).float().mean()) < 0.01


def test_the_students_codewords_begin_where_the_teachers_ended(course_of, batch):
    course = course_of("sparse_matching")
    course.terms(replace(batch, done=0.05))
    with torch.no_grad():
        for dictionary in course.teachers:
            dictionary.codewords.mul_(1.5)
    course.terms(replace(batch, done=0.2))
    for own, shown in zip(course.students, course.teachers, strict=True):
        assert torch.equal(own.codewords, shown.codewords)
        assert own.codewords is not shown.codewords


def test_matching_leaves_the_teachers_codewords_alone(course_of, batch):
    course = course_of("sparse_matching")
    course.terms(replace(batch, done=0.2))["matching"].backward()
    assert all(each.grad is None for one in course.teachers for each in one.parameters())
    assert all(each.grad is not None for one in course.students for each in one.parameters())
    assert course.networks[0].get_parameter("0.weight").grad is not None
