import pytest
import torch

from pareconv.search.data.imbalance import long_tail, thinned


def test_classes_fall_off_exponentially():
    assert long_tail([5000] * 10, 0.01) == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert long_tail([100, 100], 1.0) == [100, 100]


def test_no_class_gets_more_than_it_has_or_too_few_to_split():
    assert long_tail([1000, 30, 1000], 0.001) == [1000, 30, 2]
    assert long_tail([1000, 1], 0.5) == [1000, 1]


def test_images_are_thinned_out_as_the_seed_says_and_the_test_split_is_not(digits):
    first, again, other = (thinned(digits, 0.1, seed) for seed in (1, 1, 2))
    counts = torch.bincount(digits.train_labels).tolist()
    assert torch.bincount(first.train_labels).tolist() == long_tail(counts, 0.1)
    assert torch.equal(first.train_images[:], again.train_images[:])
    assert not torch.equal(first.train_images[:], other.train_images[:])
    assert first.test_images is digits.test_images
    every = {tuple(image.flatten().tolist()) for image in digits.train_images}
    assert {tuple(image.flatten().tolist()) for image in first.train_images[:]} <= every


@pytest.mark.parametrize("imbalance", [0.02, 0.5, 1.0])
def test_the_rarest_class_is_that_share_of_the_largest(digits, imbalance):
    counts = torch.bincount(thinned(digits, imbalance, 0).train_labels)
    assert int(counts[-1]) == pytest.approx(
        imbalance * int(counts[0]), abs=2 if imbalance < 1 else 5
    )
