"""Torchvision's data sets, from tiny files in their own formats."""

import hashlib
import json
import struct
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

from pareconv.search.data.sources import Source, load, opened
from pareconv.search.data.torchvision_table import TORCHVISION_SETS
from pareconv.search.errors import InvalidSpec

RANDOM = np.random.default_rng(0)


def noise(*shape):
    return RANDOM.integers(0, 256, shape, np.uint8)


def write(path, content):
    """Gives its MD5."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashlib.md5(content).hexdigest()


def jpeg(colour, size=(20, 30)):
    file = BytesIO()
    Image.new("RGB", size, colour).save(file, "JPEG")
    return file.getvalue()


def idx(array):
    return (
        bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape) + bytes(array)
    )


def mnist(root, cls):
    train, test = noise(4, 28, 28), noise(2, 28, 28)
    raw = root / cls / "raw"
    for name, pixels, labels in (("train", train, [0, 1, 1, 9]), ("t10k", test, [9, 0])):
        write(raw / f"{name}-images-idx3-ubyte", idx(pixels))
        write(raw / f"{name}-labels-idx1-ubyte", idx(np.array(labels, np.uint8)))
    return train[:, None].repeat(3, 1), [0, 1, 1, 9], [9, 0]


def svhn(root, monkeypatch):
    pixels, lists = {}, {}
    for split, labels in (("train", [1, 10, 2]), ("test", [10, 2])):
        pixels[split] = noise(32, 32, 3, len(labels))
        file = BytesIO()
        savemat(file, {"X": pixels[split], "y": np.array(labels, np.uint8)[:, None]})
        name = f"{split}_32x32.mat"
        lists[split] = ["", name, write(root / name, file.getvalue())]
    monkeypatch.setattr(datasets.SVHN, "split_list", lists)
    return pixels["train"].transpose(3, 2, 0, 1), [1, 0, 2], [0, 2]


def stl10(root, monkeypatch):
    folder, train = root / "stl10_binary", noise(3, 3, 96, 96)
    files = {
        "train_X.bin": train.transpose(0, 1, 3, 2).tobytes(),  # column by column
        "train_y.bin": bytes([1, 3, 2]),
        "unlabeled_X.bin": b"",
        "test_X.bin": noise(1, 3, 96, 96).tobytes(),
        "test_y.bin": bytes([3]),
    }
    sums = [[name, write(folder / name, content)] for name, content in files.items()]
    monkeypatch.setattr(datasets.STL10, "train_list", sums[:3])
    monkeypatch.setattr(datasets.STL10, "test_list", sums[3:])
    write(folder / "class_names.txt", b"airplane\nbird\ncar\n")
    return train, [0, 2, 1], [2]


def flowers102(root, monkeypatch):
    folder = root / "flowers-102"
    for number in range(1, 7):
        write(folder / "jpg" / f"image_{number:05}.jpg", jpeg((40 * number, 0, 0)))
    sums = {"image": ("102flowers.tgz", "")}
    for key, name, content in (
        ("label", "imagelabels.mat", {"labels": [1, 2, 1, 2, 1, 2]}),
        ("setid", "setid.mat", {"trnid": [1, 2, 3], "valid": [4, 6], "tstid": [5, 2]}),
    ):
        file = BytesIO()
        savemat(file, content)
        sums[key] = name, write(folder / name, file.getvalue())
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", sums)


def food101(root):
    for split, numbers in (("train", (1, 2)), ("test", (3,))):
        listed = {}
        for shade, food in ((250, "soup"), (100, "pie")):
            listed[food] = [f"{food}/{number}" for number in numbers]
            for name in listed[food]:
                write(root / "food-101/images" / f"{name}.jpg", jpeg((shade, 0, 0)))
        write(root / f"food-101/meta/{split}.json", json.dumps(listed).encode())


def dtd(root):
    for split, number in (("train", 1), ("val", 2), ("test", 3)):
        names = [f"{texture}/{number}.jpg" for texture in ("dotted", "woven")]
        for name in names:
            write(root / "dtd/dtd/images" / name, jpeg((number * 60, 0, 0)))
        write(root / f"dtd/dtd/labels/{split}1.txt", "\n".join(names).encode())


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("name", "cls"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST"), ("kmnist", "KMNIST")]
)
def test_the_mnists_are_grey_in_three_channels(tmp_path, cache, name, cls):
    pixels, train, test = mnist(tmp_path, cls)
    for path in (tmp_path, tmp_path / cls):
        images = load(Source(name, path), image_size="auto", cache=cache)
        assert np.array_equal(images.train_images, pixels)
        assert (images.train_labels.tolist(), images.test_labels.tolist()) == (train, test)
        assert len(images.classes) == 10
        assert images.classes == tuple(getattr(datasets, cls).classes)


@pytest.mark.parametrize(
    ("name", "make", "classes"),
    [("svhn", svhn, ("0", "1", "2")), ("stl10", stl10, ("airplane", "bird", "car"))],
)
def test_what_is_kept_as_arrays(tmp_path, cache, monkeypatch, name, make, classes):
    pixels, train, test = make(tmp_path, monkeypatch)
    images = load(Source(name, tmp_path), image_size="auto", cache=cache)
    assert np.array_equal(images.train_images, pixels)
    assert (images.train_labels.tolist(), images.test_labels.tolist()) == (train, test)
    assert images.classes == classes


def test_flowers_bring_a_validation_split(tmp_path, cache, monkeypatch):
    flowers102(tmp_path, monkeypatch)
    images = load(Source("flowers102", tmp_path), image_size=16, cache=cache)
    assert images.train_labels.tolist() == [0, 1, 0]
    assert images.validation_labels.tolist() == [1, 1]
    assert images.test_labels.tolist() == [0, 1]
    red = [images.train_images, images.validation_images, images.test_images]
    assert torch.cat(red)[:, 0, 8, 8].sub(20).div(40, rounding_mode="floor").tolist() == [
        *(0, 1, 2),
        *(3, 5),
        *(4, 1),
    ]
    assert images.classes[0] == "pink primrose"


def test_food_and_textures_are_read_from_their_lists(tmp_path, cache):
    food101(tmp_path)
    dtd(tmp_path)
    food = load(Source("food101", tmp_path / "food-101"), image_size=16, cache=cache)
    assert food.classes == ("pie", "soup")
    shades = {label: int(image[0, 8, 8]) for image, label in zip(
        food.train_images, food.train_labels.tolist(), strict=True)}  # fmt: skip
    assert shades[0] < 150 < shades[1]
    for path in (tmp_path, tmp_path / "dtd"):
        textures = load(Source("dtd", path), image_size=16, cache=cache)
        assert textures.classes == ("dotted", "woven")
        assert [len(textures.train_labels), len(textures.validation_labels)] == [2, 2]


def test_an_image_that_is_something_else_is_not_opened(tmp_path, cache):
    food101(tmp_path)
    (tmp_path / "food-101/images/pie/1.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0")
    with pytest.raises(InvalidSpec, match=r"'1.jpg' cannot be decoded"):
        load(Source("food101", tmp_path), image_size=16, cache=cache)


def test_changed_files_are_read_again(tmp_path, cache):
    for _ in range(2):
        pixels, *_ = mnist(tmp_path, "MNIST")
        images = load(Source("mnist", tmp_path), image_size="auto", cache=cache)
        assert np.array_equal(images.train_images, pixels)


@pytest.mark.parametrize("name", TORCHVISION_SETS)
def test_where_nothing_is_nothing_is_downloaded(tmp_path, name):
    with pytest.raises(InvalidSpec) as caught, opened(Source(name, tmp_path), scratch=tmp_path):
        pass
    assert caught.value.field == "dataset.source"
    assert f"torchvision.datasets.{TORCHVISION_SETS[name].cls}" in caught.value.message


@pytest.mark.parametrize("content", [b"", b"\0\0\x08\x03", bytes(100), idx(noise(3, 28, 28))])
def test_damaged_files_are_refused(tmp_path, content):
    mnist(tmp_path, "MNIST")
    (tmp_path / "MNIST/raw/train-labels-idx1-ubyte").write_bytes(content)
    with pytest.raises(InvalidSpec), opened(Source("mnist", tmp_path), scratch=tmp_path):
        pass


@pytest.mark.parametrize("name", TORCHVISION_SETS)
def test_the_table_names_classes_of_torchvision(name):
    assert issubclass(getattr(datasets, TORCHVISION_SETS[name].cls), datasets.VisionDataset)
