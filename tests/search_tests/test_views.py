import pytest
import torch

from pareconv.search.data.batches import Split, normalize
from pareconv.search.data.views import Views

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)
SIZE = 10


@pytest.fixture(scope="module")
def split():
    """Ten different images, labelled by their number."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (SIZE, 3, 16, 16), generator=generator, dtype=torch.uint8)
    return Split(images, torch.arange(SIZE), MEAN, STD)


@pytest.fixture(params=["none", "crop", "crop-flip"])
def views(request, split):
    """Makes views of one augmentation from a seed."""
    return lambda seed=0: Views(split, request.param, seed)


def numbers(*values):
    return torch.tensor(values)


def assert_same(one, other):
    for first, second in zip(one, other, strict=True):
        assert torch.equal(first, second)


def test_a_view_is_the_same_alone_and_in_any_batch(views):
    some = views()
    images, labels = some[numbers(3, 17, 8, 25)]
    for place, number in enumerate((3, 17, 8, 25)):
        image, label = some[numbers(number)]
        assert_same((image[0], label[0]), (images[place], labels[place]))


def test_a_view_is_the_same_asked_of_another_with_that_seed_in_another_order(views):
    ahead, behind = views(), views()
    ahead[numbers(47)]
    for number in (0, 12, 31):
        assert_same(ahead[numbers(number)], behind[numbers(number)])


def test_a_batch_may_run_over_the_end_of_a_pass(views):
    some = views()
    whole = some[torch.arange(5, 35)]
    parts = [some[torch.arange(start, start + 5)] for start in range(5, 35, 5)]
    assert_same(whole, [torch.cat(column) for column in zip(*parts, strict=True)])


def test_the_same_view_may_be_asked_twice_in_a_batch(views):
    images, labels = views()[numbers(4, 14, 4)]
    assert torch.equal(images[0], images[2])
    assert labels[0] == labels[2]


def test_every_image_is_shown_once_per_pass_in_a_new_order(views):
    _, labels = views()[torch.arange(3 * SIZE)]
    passes = [part.tolist() for part in labels.split(SIZE)]
    assert all(sorted(each) == list(range(SIZE)) for each in passes)
    assert passes[0] != passes[1] != passes[2]


def test_another_seed_shows_other_views(views):
    _, first = views(1)[torch.arange(SIZE)]
    _, second = views(2)[torch.arange(SIZE)]
    assert not torch.equal(first, second)


def test_views_are_normalised_and_labelled(split):
    images, labels = Views(split, "none", 0)[torch.arange(2 * SIZE)]
    assert torch.equal(images, normalize(split.images[labels], MEAN, STD))


@pytest.mark.parametrize("augment", ["crop", "crop-flip"])
def test_an_image_is_moved_otherwise_in_every_pass(split, augment):
    images, labels = Views(split, augment, 0)[torch.arange(20 * SIZE)]
    shown = images[labels == 3]
    assert len(shown) == 20
    assert len({tuple(view.flatten().tolist()) for view in shown}) > 5


def test_the_global_generator_is_left_alone(split):
    state = torch.get_rng_state()
    Views(split, "crop-flip", 0)[torch.arange(30)]
    assert torch.equal(torch.get_rng_state(), state)
