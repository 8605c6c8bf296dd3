import math

import pytest
import torch
from torch import nn

from pareconv.search.data.batches import Split, normalize
from pareconv.search.evaluation import evaluate, recalibrate

AS_IT_IS = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


class Levels(nn.Module):
    """Logits [0, 2, 1] for dark images and [2, 0, 1] for bright ones."""

    def forward(self, x):
        is_bright = x.mean((1, 2, 3), keepdim=False)[:, None] > 0.5
        return torch.where(is_bright, x.new_tensor([2.0, 0, 1]), x.new_tensor([0.0, 2, 1]))


def images_of(levels):
    return torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)


def test_accuracy_error_and_loss_by_hand():
    split = Split(images_of([0, 0, 255, 255]), torch.tensor([1, 2, 0, 0]), *AS_IT_IS)
    found = evaluate(Levels(), split)
    right = -math.log(math.e**2 / (1 + math.e + math.e**2))  # the greatest logit's class
    wrong = -math.log(math.e / (1 + math.e + math.e**2))
    assert found.accuracy == 0.75
    assert found.stderr == pytest.approx(math.sqrt(0.75 * 0.25 / 4))
    assert found.loss == pytest.approx((3 * right + wrong) / 4)
    assert found.to_json() == {
        "accuracy": found.accuracy,
        "stderr": found.stderr,
        "loss": found.loss,
    }


def test_the_last_and_smaller_batch_counts_by_its_images():
    labels = torch.ones(1100, dtype=torch.int64)
    labels[:1000] = 0
    found = evaluate(Levels(), Split(images_of([0] * 1100), labels, *AS_IT_IS))
    assert found.accuracy == pytest.approx(100 / 1100)


def test_all_right_is_certain():
    found = evaluate(Levels(), Split(images_of([0, 255]), torch.tensor([1, 0]), *AS_IT_IS))
    assert (found.accuracy, found.stderr) == (1.0, 0.0)


def test_images_are_normalised_as_the_split_says():
    """200 / 255 is bright as it is, and dark once 0.5 is taken away."""
    pixels, labels = images_of([200]), torch.tensor([0])
    assert evaluate(Levels(), Split(pixels, labels, *AS_IT_IS)).accuracy == 1
    darker = Split(pixels, labels, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
    assert evaluate(Levels(), darker).accuracy == 0


def test_evaluation_changes_nothing(small_network, digit_splits):
    network = small_network().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert evaluate(network, digit_splits[1]) == evaluate(network, digit_splits[1])
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not network.training


@pytest.mark.parametrize("num_images", [360, 501, 1024])
def test_recalibration_gives_the_statistics_of_the_images(
    num_images, small_network, digits, digit_splits
):
    """Every image counts alike, in whatever batches they are looked at."""
    brightest = digits.train_images.float().mean((1, 2, 3)).argsort(descending=True)[:num_images]
    train = digit_splits[0]
    split = Split(train.images[brightest], train.labels[brightest], train.mean, train.std)
    network = small_network().train()
    recalibrate(network, split)
    with torch.no_grad():
        conv, norm = network.get_submodule("0"), network.get_submodule("1")
        seen = conv(normalize(split.images, split.mean, split.std))
    deviation = seen.var((0, 2, 3)).sqrt()
    shift = (norm.running_mean - seen.mean((0, 2, 3))).abs() / deviation
    assert shift.max() < 0.01
    torch.testing.assert_close(norm.running_var.sqrt(), deviation, rtol=0.02, atol=0)


def test_recalibration_forgets_what_was_there_before(small_network, digit_splits):
    fresh, stale = small_network(), small_network()
    for module in stale.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.fill_(100.0)
            module.running_var.fill_(1e-3)
    for network in (fresh, stale):
        recalibrate(network, digit_splits[1])
    first, second = fresh.state_dict(), stale.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_recalibration_leaves_weights_momentum_and_eval_mode(small_network, digit_splits):
    network = small_network().train()
    norm = network.get_submodule("1")
    norm.momentum = 0.03
    weights = [parameter.clone() for parameter in network.parameters()]
    recalibrate(network, digit_splits[1])
    assert not any(module.training for module in network.modules())
    assert norm.momentum == 0.03
    assert all(map(torch.equal, weights, network.parameters()))


def test_dropout_has_no_part_in_the_statistics(digit_splits):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.Dropout(0.5), nn.BatchNorm2d(8)
    with_dropout, without = nn.Sequential(*layers), nn.Sequential(layers[0], nn.BatchNorm2d(8))
    for network in (with_dropout, without):
        recalibrate(network, digit_splits[1])
    assert torch.equal(with_dropout[-1].running_mean, without[-1].running_mean)
    assert torch.equal(with_dropout[-1].running_var, without[-1].running_var)


def test_a_network_without_batch_norm_needs_none(digit_splits):
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 10)).train()
    recalibrate(network, digit_splits[1])
    assert not network.training
