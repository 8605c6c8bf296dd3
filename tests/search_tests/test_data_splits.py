import hashlib

import pytest
import torch

from pareconv.search.data.splits import hold_out_test, resolve_fraction, split
from pareconv.search.errors import InvalidSpec

LABELS = torch.tensor([0] * 100 + [1] * 50 + [2] * 3)


def test_the_sides_are_disjoint_and_complete():
    train, validation = split(LABELS, 0.2, 0)
    assert sorted([*train.tolist(), *validation.tolist()]) == list(range(len(LABELS)))
    assert train.dtype == validation.dtype == torch.int64


def test_each_class_gives_its_share():
    _, validation = split(LABELS, 0.2, 0)
    assert torch.bincount(LABELS[validation]).tolist() == [20, 10, 1]


@pytest.mark.parametrize("fraction", [0.001, 0.5, 0.999])
def test_each_class_is_on_both_sides(fraction):
    for side in split(torch.tensor([0, 0, 1, 1, 1]), fraction, 0):
        assert set(torch.tensor([0, 0, 1, 1, 1])[side].tolist()) == {0, 1}


def test_the_seed_decides():
    first, again, other = (split(LABELS, 0.2, seed)[1] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_split_is_the_same_on_every_platform():
    _, validation = split(torch.arange(1000) % 10, 0.1, 2**32 - 1)
    digest = hashlib.sha256(str(validation.tolist()).encode()).hexdigest()
    assert digest == "5e90c8f51e13850b78afb3071dae8ed350cf4c0e1340a774c822f49961b40c6c"


def test_the_order_of_classes_does_not_bias_the_choice():
    _, validation = split(torch.zeros(1000, dtype=torch.int64), 0.5, 0)
    assert abs(validation.float().mean() - 499.5) < 40


def test_a_class_of_one_image_is_refused_with_what_is_needed():
    with pytest.raises(InvalidSpec, match=r"number 1 .* has 1 image and at least 2") as caught:
        split(torch.tensor([0, 0, 1]), 0.2, 0)
    assert caught.value.field == "dataset.validation_fraction"


def test_the_held_out_test_split_is_a_fixed_fifth():
    train, test = hold_out_test(LABELS)
    assert torch.bincount(LABELS[test]).tolist() == [20, 10, 1]
    assert torch.equal(hold_out_test(LABELS)[0], train)


def test_no_test_split_from_a_class_of_one_image():
    with pytest.raises(InvalidSpec) as caught:
        hold_out_test(torch.tensor([0, 0, 1]))
    assert caught.value.field == "dataset.source"


@pytest.mark.parametrize(
    ("num_images", "fraction"), [(100, 0.2), (10_000, 0.2), (50_000, 0.04), (10**8, 0.001)]
)
def test_auto_is_two_thousand_images_at_most_a_fifth(num_images, fraction):
    assert resolve_fraction(num_images) == pytest.approx(fraction)
