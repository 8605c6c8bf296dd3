import pytest
import torch

from pareconv.search.data.images import Images, require_memory, resize
from pareconv.search.errors import InvalidSpec


def test_a_flat_image_stays_flat_at_every_size():
    images = torch.tensor([7, 200], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 8, 8)
    for size in (8, 5, 32):
        resized = resize(images, size)
        assert resized.dtype == torch.uint8
        assert resized.shape == (2, 3, size, size)
        assert (resized[0] == 7).all()
        assert (resized[1] == 200).all()


def test_downscaling_averages():
    stripes = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    stripes[..., ::2] = 200
    assert (resize(stripes, 8)[..., 1:-1].float() - 100).abs().max() < 30


def test_more_images_than_one_chunk_keep_their_order():
    values = torch.arange(5000) % 256
    images = values.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)
    assert torch.equal(resize(images, 8)[:, 0, 0, 0].long(), values)


def test_image_size_is_the_side():
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    labels = torch.arange(2)
    assert Images("x", ("a", "b"), images, labels, images, labels).image_size == 16


def test_images_that_do_not_fit_the_memory_are_refused():
    require_memory(100, 32)
    with pytest.raises(
        InvalidSpec, match=r"3,145,728.0 GB of memory.*smaller image_size"
    ) as caught:
        require_memory(10**9, 1024)
    assert caught.value.field == "dataset.image_size"
