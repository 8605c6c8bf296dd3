from dataclasses import FrozenInstanceError

import pytest
import torch

from pareconv.search.data.batches import (
    Split,
    batch_sizes,
    eval_batches,
    normalize,
    shuffled,
    statistics,
)
from pareconv.search.data.views import Views

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)


@pytest.fixture
def split():
    """Ten images, each filled with its own number; labelled with it too."""
    numbers = torch.arange(10)
    images = numbers.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).contiguous()
    return Split(images, numbers, MEAN, STD)


def train_batches(split, batch_size, *, images_total, augment="none", seed=0):
    """Views of the split in the order that training shows them, each pass through it shuffled."""
    views = Views(split, augment, seed)
    for numbers in shuffled(images_total, images_total, batch_size, seed):
        yield views[numbers]


def labels_of(batches):
    return [labels.tolist() for _, labels in batches]


def test_normalize_is_the_usual_formula():
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    before = images.clone()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    normalized = normalize(images, MEAN, STD)
    assert normalized.dtype == torch.float32
    torch.testing.assert_close(normalized, (images / 255 - mean) / std)
    assert torch.equal(images, before)


def test_statistics_are_those_of_all_pixels():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (5000, 3, 4, 4), generator=generator, dtype=torch.uint8)
    images[:, 1] //= 2
    scaled = images.double() / 255
    mean, std = statistics(images)
    assert mean == pytest.approx(scaled.mean((0, 2, 3)).tolist())
    assert std == pytest.approx(scaled.std((0, 2, 3), correction=0).tolist())


def test_a_constant_channel_still_has_a_std_to_divide_by():
    mean, std = statistics(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    assert mean == (0, 0, 0)
    assert min(std) > 0


def test_statistics_normalize_to_zero_and_one(split):
    images = normalize(split.images, *statistics(split.images))
    assert images.mean().item() == pytest.approx(0, abs=1e-5)
    assert images.std(correction=0).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("images_total", "batch_size", "sizes"),
    [
        (10, 5, [5, 5]),
        (12, 5, [5, 5, 2]),
        (11, 5, [5, 6]),
        (3, 5, [3]),
        (6, 5, [6]),
        (3, 2, [3]),
        (2, 2, [2]),
    ],
)
def test_batch_sizes(images_total, batch_size, sizes):
    assert batch_sizes(images_total, batch_size) == sizes


def test_no_total_ends_with_a_batch_of_one():
    for images_total in range(2, 60):
        for batch_size in range(2, 12):
            sizes = batch_sizes(images_total, batch_size)
            assert sum(sizes) == images_total
            assert 2 <= min(sizes) <= max(sizes) <= batch_size + 1


@pytest.mark.parametrize(("images_total", "batch_size"), [(1, 5), (0, 5), (5, 1)])
def test_a_total_or_batch_below_two_is_refused(images_total, batch_size):
    with pytest.raises(ValueError, match="at least 2"):
        batch_sizes(images_total, batch_size)


def test_training_gives_exactly_the_images_asked_for(split):
    given = labels_of(train_batches(split, 4, images_total=27))
    assert [len(labels) for labels in given] == [4] * 6 + [3]


def test_every_epoch_gives_every_view_of_the_pool_once_in_a_new_order():
    flat = torch.cat(list(shuffled(30, 10, 4, seed=0))).tolist()
    epochs = [flat[:10], flat[10:20], flat[20:]]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_pool_as_large_as_the_training_shows_every_image_equally_often(split):
    given = labels_of(train_batches(split, 4, images_total=30))
    assert sorted(label for labels in given for label in labels) == sorted([*range(10)] * 3)


def test_a_batch_may_be_larger_than_the_split(split):
    (labels,) = labels_of(train_batches(split, 20, images_total=20))
    assert sorted(labels) == sorted([*range(10), *range(10)])


def test_images_and_labels_stay_together_and_normalised(split):
    for images, labels in train_batches(split, 4, images_total=12):
        assert torch.equal(images, normalize(split.images[labels], MEAN, STD))


def test_training_augments_after_normalising(split):
    batches = train_batches(split, 10, images_total=100, augment="crop", seed=0)
    values = torch.cat([images[:, 0].flatten() for images, _ in batches]).unique()
    inside = normalize(split.images, MEAN, STD)[:, 0].unique()
    assert set(values.tolist()) == {*inside.tolist(), 0.0}


def test_the_seed_decides_order_and_views(split):
    def run(seed):
        batches = train_batches(split, 5, images_total=20, augment="crop-flip", seed=seed)
        return torch.cat([images for images, _ in batches])

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


def test_evaluation_gives_the_whole_split_in_order(split):
    batches = list(eval_batches(split, 4))
    assert labels_of(batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert torch.equal(torch.cat([x for x, _ in batches]), normalize(split.images, MEAN, STD))


def test_a_split_moves_as_a_whole(split):
    moved = split.to("meta")
    assert moved.images.device.type == moved.labels.device.type == "meta"
    assert len(moved) == len(split) == 10
    assert split.images.device.type == "cpu"


def test_a_split_is_a_value(split):
    with pytest.raises(FrozenInstanceError):
        split.mean = STD


@pytest.mark.parametrize(("num_images", "num_labels"), [(0, 0), (3, 2)])
def test_a_split_needs_images_and_as_many_labels(num_images, num_labels):
    images = torch.zeros(num_images, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match=f"{num_images} images with {num_labels} labels"):
        Split(images, torch.zeros(num_labels, dtype=torch.int64), MEAN, STD)
