import pytest
import torch

from pareconv.search.data.augment import Moves, move

KINDS = ["none", "crop", "crop-flip"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def augment(images, kind, generator):
    """Each image of the batch moved at random."""
    return move(images, Moves.draw(kind, len(images), images.shape[-1], generator))


def shifted(image, down, right, padding):
    """The window of the padded image, cut out the slow way."""
    side = image.shape[-1]
    padded = torch.zeros(3, side + 2 * padding, side + 2 * padding, dtype=image.dtype)
    padded[:, padding : padding + side, padding : padding + side] = image
    return padded[:, down : down + side, right : right + side]


def views_of(image, padding, flips):
    steps = range(2 * padding + 1)
    views = [shifted(image, down, right, padding) for down in steps for right in steps]
    return views + [view.flip(-1) for view in views] if flips else views


@pytest.fixture
def images():
    return torch.rand(64, 3, 16, 16, generator=generator(7)) + 0.1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_shape_and_dtype_are_kept(images, kind, dtype):
    batch = (images * 200).to(dtype)
    views = augment(batch, kind, generator())
    assert views.shape == batch.shape
    assert views.dtype == dtype


def test_none_changes_nothing(images):
    assert torch.equal(augment(images, "none", generator()), images)


@pytest.mark.parametrize("kind", ["crop", "crop-flip"])
def test_every_view_is_a_shifted_window_of_its_own_image(images, kind):
    for image, view in zip(images, augment(images, kind, generator()), strict=True):
        known = views_of(image, padding=2, flips=kind == "crop-flip")
        assert any(torch.equal(view, one) for one in known)


def test_all_shifts_occur_and_each_image_has_its_own():
    image = torch.rand(3, 8, 8, generator=generator())
    views = augment(image.expand(500, -1, -1, -1), "crop", generator())
    known = views_of(image, padding=1, flips=False)
    counts = [sum(torch.equal(view, one) for view in views) for one in known]
    assert len(counts) == 9
    assert min(counts) > 25
    assert sum(counts) == 500


def test_half_of_the_images_are_mirrored():
    ramp = torch.arange(32.0).expand(2000, 3, 32, 32) + 1
    views = augment(ramp, "crop-flip", generator())
    share = (views[:, 0, 16, 10] > views[:, 0, 16, 20]).float().mean()
    assert 0.45 < share < 0.55


def test_crop_never_mirrors():
    ramp = torch.arange(32.0).expand(200, 3, 32, 32) + 1
    views = augment(ramp, "crop", generator())
    assert (views[:, 0, 16, 10] < views[:, 0, 16, 20]).all()


def test_the_padding_is_zero_and_an_eighth_of_the_side():
    views = augment(torch.ones(500, 3, 32, 32), "crop", generator())
    lost = (views[:, 0] == 0).all(2).sum(1)
    assert lost.max() == 4


def test_the_generator_decides(images):
    first, again, other = (augment(images, "crop-flip", generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_input_is_left_alone(images):
    before = images.clone()
    augment(images, "crop-flip", generator())
    assert torch.equal(images, before)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_moved_alike_in_any_company(images, kind):
    moves = Moves.draw(kind, len(images), 16, generator())
    chosen = torch.tensor([9, 3, 60])
    assert torch.equal(move(images[chosen], moves[chosen]), move(images, moves)[chosen])
