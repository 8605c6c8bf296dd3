"""How a teacher's images were normalised, found by trying."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from pareconv.models.graph import canonical
from pareconv.search.evaluation import Accuracy, evaluate
from pareconv.search.normalization import OWN, Normalization, normalization
from pareconv.search.spec import PRESETS, Normalize

WAYS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "pixels from 0 to 1": ((0, 0, 0), (1, 1, 1)),
    "pixels from -1 to 1": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "pixels from 0 to 255": ((0, 0, 0), (1 / 255, 1 / 255, 1 / 255)),
}


def taking(network, mean, std, own):
    """What `network` computes of its own normalised images, of images normalised otherwise."""
    first = nn.Conv2d(3, 3, 1)
    scale, shift = torch.tensor(std), torch.tensor(mean)
    with torch.no_grad():
        first.weight.copy_(torch.diag(scale / torch.tensor(own.std))[:, :, None, None])
        first.bias.copy_((shift - torch.tensor(own.mean)) / torch.tensor(own.std))
    return canonical(nn.Sequential(first, network)).eval().requires_grad_(False)


@pytest.mark.parametrize("name", WAYS)
def test_the_way_of_its_training_is_found(new_bench, name):
    bench = new_bench()
    mean, std = WAYS[name]
    other = replace(bench, teacher=taking(bench.teacher, mean, std, bench.spec.teacher.normalize))

    found = normalization(other)

    accuracy = evaluate(bench.teacher, bench.held_out(found.images)).accuracy
    assert found.accuracies[name].accuracy == pytest.approx(accuracy, abs=0.01)
    assert found.accuracies[found.name].accuracy == max(
        each.accuracy for each in found.accuracies.values()
    )
    assert found.accuracies[OWN].accuracy < accuracy
    assert f"{name} {accuracy:.1%}" in str(found)


def test_the_own_statistics_of_the_images_come_first(new_bench):
    bench = new_bench()
    found = normalization(bench)
    assert found.chosen == bench.spec.teacher.normalize or (
        found.accuracies[found.name].accuracy > found.accuracies[OWN].accuracy
    )


@pytest.mark.parametrize(
    ("second", "told"),
    [
        (0.93, "too close to be told from cifar10: say it by teacher.normalize"),
        (0.80, "where it is known, say it by teacher.normalize"),
    ],
)
def test_what_cannot_be_told_apart_is_said(second, told):
    accuracies = {"imagenet": 0.94, "cifar10": second}
    found = Normalization(
        "imagenet",
        Normalize(**PRESETS["imagenet"]),
        {name: Accuracy(value, 0.015, 0.2) for name, value in accuracies.items()},
        256,
    )
    assert told in str(found)
