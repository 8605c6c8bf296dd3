import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pareconv.search.data.sources import Source, load
from pareconv.search.errors import InvalidSpec

CIFAR10_JPEG = Path(__file__).parents[2] / "../shared/data/cifar10-jpeg.zip"


def png(color, size=(8, 8)):
    buffer = BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def members(color="red", size=(8, 8)):
    train = {f"train/{name}/{n}.png": png(color, size) for name in ("cat", "dog") for n in range(4)}
    return train | {"test/dog/9.png": png("blue", size)}


def make_zip(path, contents):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in contents.items():
            file.writestr(name, content)
    return Source("file", path)


def make_folder(path, contents):
    for name, content in contents.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return Source("folder", path)


@pytest.fixture(params=[make_zip, make_folder], ids=["zip", "folder"])
def make(request, tmp_path):
    return lambda contents: request.param(tmp_path / "pets.data", contents)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def refusal(source, cache, image_size="auto"):
    with pytest.raises(InvalidSpec) as caught:
        load(source, image_size=image_size, cache=cache)
    return caught.value


def test_images_come_with_their_splits_labels_and_names(make, cache):
    images = load(make(members()), image_size="auto", cache=cache)
    assert (images.name, images.classes, images.image_size) == ("pets", ("cat", "dog"), 8)
    assert images.train_labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert images.test_labels.tolist() == [1]
    assert images.train_images.dtype == torch.uint8
    assert images.train_images[:, :, 0, 0].unique(dim=0).tolist() == [[255, 0, 0]]
    assert images.test_images[:, :, 0, 0].tolist() == [[0, 0, 255]]


def test_the_second_load_gives_the_same(make, cache):
    source = make(members())
    first, second = (load(source, image_size="auto", cache=cache) for _ in range(2))
    assert torch.equal(first.train_images, second.train_images)
    assert (first.name, first.classes) == (second.name, second.classes)
    assert len(list(cache.iterdir())) == 1


def test_a_size_scales_the_images(make, cache):
    images = load(make(members(size=(20, 10))), image_size=16, cache=cache)
    assert images.train_images.shape == (8, 3, 16, 16)


def test_without_a_test_split_a_fixed_fifth_of_each_class_is_held_out(make, cache):
    plain = {f"{name}/{n}.png": png((n, 0, 0)) for name in ("cat", "dog") for n in range(10)}
    source = make(plain)
    images = load(source, image_size="auto", cache=cache)
    assert images.train_labels.bincount().tolist() == [8, 8]
    assert images.test_labels.bincount().tolist() == [2, 2]
    again = load(source, image_size=8, cache=cache.with_name("other"))
    assert torch.equal(images.test_images, again.test_images)
    seen = torch.cat([images.train_images, images.test_images])[:, 0, 0, 0]
    assert sorted(seen.tolist()) == sorted([*range(10), *range(10)])


def test_auto_asks_for_a_size_when_images_differ(make, cache):
    error = refusal(make({**members(), "train/dog/odd.png": png("red", (9, 9))}), cache)
    assert error.field == "dataset.image_size"
    assert "'train/dog/odd.png' is 9 x 9" in error.message


def test_auto_does_not_take_images_that_were_scaled_before(make, cache):
    source = make({**members(), "train/dog/odd.png": png("red", (9, 9))})
    load(source, image_size=8, cache=cache)
    assert refusal(source, cache).field == "dataset.image_size"


@pytest.mark.parametrize("size", [(8, 9), (7, 7), (1025, 1025)])
def test_auto_asks_for_a_size_where_the_images_own_is_no_good(make, cache, size):
    error = refusal(make(members(size=size)), cache)
    assert error.field == "dataset.image_size"
    assert f"{size[0]} x {size[1]} pixels" in error.message


def test_a_size_after_auto_needs_no_second_decoding(make, cache):
    source = make(members())
    load(source, image_size="auto", cache=cache)
    load(source, image_size=8, cache=cache)
    assert len(list(cache.iterdir())) == 1


def test_a_corrupt_image_is_named_and_nothing_is_kept(make, cache):
    error = refusal(make({**members(), "train/dog/2.png": png("red")[:50]}), cache)
    assert error.field == "dataset.source"
    assert "'train/dog/2.png' cannot be decoded" in error.message
    assert not any(cache.iterdir())


def test_a_class_of_one_image_cannot_be_split(make, cache):
    error = refusal(make({f"{n}.png": png("red") for n in ("cat/1", "cat/2", "dog/1")}), cache)
    assert error.field == "dataset.source"
    assert "has 1 image" in error.message


def test_changed_content_is_decoded_again(make, cache):
    load(make(members("red")), image_size=8, cache=cache)
    images = load(make(members("green")), image_size=8, cache=cache)
    assert images.train_images[0, :, 0, 0].tolist() == [0, 128, 0]


def test_a_known_fingerprint_spares_reading_the_zip(tmp_path, cache):
    for color in ("red", "green"):
        make_zip(tmp_path / "a.zip", members(color))
        source = Source("file", tmp_path / "a.zip", fingerprint="1234")
        images = load(source, image_size=8, cache=cache)
    assert images.train_images[0, :, 0, 0].tolist() == [255, 0, 0]


def test_a_damaged_cache_is_made_anew(make, cache):
    source = make(members())
    load(source, image_size=8, cache=cache)
    (kept,) = cache.iterdir()
    kept.write_bytes(b"damaged")
    assert load(source, image_size=8, cache=cache).train_images[0, :, 0, 0].tolist() == [255, 0, 0]
    assert kept.read_bytes() != b"damaged"


@pytest.mark.slow
def test_cifar10_as_jpeg_is_decoded_whole(cache):
    assert CIFAR10_JPEG.exists(), "needs 60,000 real images at ../shared/data/cifar10-jpeg.zip"
    images = load(Source("file", CIFAR10_JPEG), image_size="auto", cache=cache)
    assert images.image_size == 32
    assert images.train_labels.bincount().tolist() == [5000] * 10
    assert images.test_labels.bincount().tolist() == [1000] * 10
    with zipfile.ZipFile(CIFAR10_JPEG) as file, file.open("train/truck/4999.jpg") as member:
        last = np.asarray(Image.open(member))
    assert np.array_equal(images.train_images[-1].permute(1, 2, 0).numpy(), last)
