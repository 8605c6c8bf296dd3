"""What a spec leaves open that only its user knows."""

import pytest

from pareconv.search.assumptions import assumptions
from pareconv.search.spec import JobSpec


def assumed(teacher, dataset):
    spec = {"teacher": teacher, "dataset": dataset, "budget": {"flops": "50%"}}
    return [each.field for each in assumptions(JobSpec.model_validate(spec))]


@pytest.mark.parametrize(
    "teacher",
    [
        {"architecture": "resnet18", "weights": "file:/data/weights.pt"},
        {"architecture": "resnet18", "weights": "teacher:abc"},
        {"architecture": "file:/data/network.onnx"},
        {"architecture": "teacher:abc"},
    ],
)
def test_weights_that_somebody_brings_do_not_say_how_images_were_normalised(teacher):
    assert assumed(teacher, {"source": "digits"}) == ["teacher.normalize"]
    assert assumed(teacher | {"normalize": "imagenet"}, {"source": "digits"}) == []


@pytest.mark.parametrize("weights", [None, "default"])
def test_statistics_of_weights_that_are_trained_here_or_published_are_known(weights):
    teacher = {"architecture": "resnet18", "weights": weights}
    assert assumed(teacher, {"source": "digits"}) == []


@pytest.mark.parametrize("source", ["dataset:abc", "file:/data/photos", "mnist:/data"])
def test_whether_images_may_be_mirrored_is_not_known(source):
    teacher = {"architecture": "resnet18"}
    assert assumed(teacher, {"source": source}) == ["dataset.augment"]
    assert assumed(teacher, {"source": source, "augment": "crop"}) == []
