import hashlib
import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torchvision.datasets import CIFAR10, CIFAR100

from pareconv.search.data.sources import Source, load
from pareconv.search.errors import InvalidSpec


def refusal(source, cache, image_size="auto"):
    with pytest.raises(InvalidSpec) as caught:
        load(source, image_size=image_size, cache=cache)
    return caught.value


def dump(path, value):
    """Writes a pickle; gives (file name, checksum) as torchvision lists them."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(value))
    return [path.name, hashlib.md5(path.read_bytes()).hexdigest()]


def batch(labels, key):
    pixels = np.random.default_rng(len(labels)).integers(0, 256, (len(labels), 3072))
    return {"data": pixels.astype(np.uint8), key: labels}


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    """CIFAR-10's files, five batches of four images and one of two, with checksums to match."""
    folder = tmp_path / CIFAR10.base_folder
    train = [dump(folder / f"data_batch_{n}", batch([0, 1, 0, 1], "labels")) for n in range(1, 6)]
    name, checksum = dump(folder / "batches.meta", {"label_names": ["airplane", "automobile"]})
    monkeypatch.setattr(CIFAR10, "train_list", train)
    monkeypatch.setattr(
        CIFAR10, "test_list", [dump(folder / "test_batch", batch([1, 0], "labels"))]
    )
    monkeypatch.setattr(CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": checksum})
    return tmp_path


@pytest.fixture
def cifar100(tmp_path, monkeypatch):
    folder = tmp_path / CIFAR100.base_folder
    name, checksum = dump(folder / "meta", {"fine_label_names": ["apple", "bee", "cup"]})
    train, test = (batch([2, 1, 0], "fine_labels"), batch([0], "fine_labels"))
    monkeypatch.setattr(CIFAR100, "train_list", [dump(folder / "train", train)])
    monkeypatch.setattr(CIFAR100, "test_list", [dump(folder / "test", test)])
    meta = {"filename": name, "key": "fine_label_names", "md5": checksum}
    monkeypatch.setattr(CIFAR100, "meta", meta)
    return tmp_path


def test_digits_are_split_and_scaled_up(tmp_path):
    images = load(Source("digits"), image_size="auto", cache=tmp_path)
    assert images.name == "digits"
    assert images.classes == tuple("0123456789")
    assert images.image_size == 32
    assert len(images.train_labels) + len(images.test_labels) == 1797
    assert len(images.test_labels) == pytest.approx(1797 / 5, abs=5)
    assert (images.test_labels.bincount() >= 34).all()
    assert images.train_images.dtype == torch.uint8
    assert (images.train_images.amin(), images.train_images.amax()) == (0, 255)


def test_digits_at_their_own_size_are_scikit_learns(tmp_path):
    images = load(Source("digits"), image_size=8, cache=tmp_path)
    ours = torch.cat([images.train_images, images.test_images])
    assert torch.equal(ours[:, 0], ours[:, 2])
    known = {digit.astype(int).tobytes() for digit in load_digits().images}
    grey = ours[:, 0].mul(16 / 255).round().long().numpy()
    assert {digit.tobytes() for digit in grey} == known


def test_digits_are_the_same_each_time(tmp_path):
    first, second = (load(Source("digits"), image_size=16, cache=tmp_path) for _ in range(2))
    assert torch.equal(first.test_images, second.test_images)
    assert torch.equal(first.train_labels, second.train_labels)


@pytest.mark.parametrize("below", ["", CIFAR10.base_folder])
def test_cifar10_is_read_from_its_folder_or_the_one_above(cifar10, tmp_path, below):
    images = load(Source("cifar10", cifar10 / below), image_size="auto", cache=tmp_path / "cache")
    assert images.classes == ("airplane", "automobile")
    assert images.train_images.shape == (20, 3, 32, 32)
    assert images.train_labels.tolist() == [0, 1] * 10
    assert images.test_labels.tolist() == [1, 0]
    pixels = torch.from_numpy(batch([1, 0], "labels")["data"]).view(2, 3, 32, 32)
    assert torch.equal(images.test_images, pixels)


def test_cifar100_has_its_fine_labels(cifar100, tmp_path):
    images = load(Source("cifar100", cifar100), image_size=16, cache=tmp_path / "cache")
    assert images.name == "cifar100"
    assert images.classes == ("apple", "bee", "cup")
    assert images.train_labels.tolist() == [2, 1, 0]
    assert images.train_images.shape == (3, 3, 16, 16)


def test_cifar_comes_from_the_cache_the_second_time(cifar10, tmp_path, monkeypatch):
    source = Source("cifar10", cifar10)
    first = load(source, image_size="auto", cache=tmp_path / "cache")
    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda _: False)
    second = load(source, image_size=32, cache=tmp_path / "cache")
    assert torch.equal(first.train_images, second.train_images)
    assert refusal(source, tmp_path / "cache", 16).field == "dataset.source"


def test_a_folder_without_cifar_is_refused_with_where_to_get_it(tmp_path):
    error = refusal(Source("cifar10", tmp_path), tmp_path / "cache")
    assert error.field == "dataset.source"
    assert "holds no cifar-10-batches-py" in error.message
    assert "torchvision.datasets.CIFAR10" in error.message


class Intruder:
    def __reduce__(self):
        return (open, ("intruded", "w"))


def test_a_pickle_with_another_checksum_is_never_opened(cifar10, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dump(cifar10 / CIFAR10.base_folder / "data_batch_1", Intruder())
    error = refusal(Source("cifar10", cifar10), tmp_path / "cache")
    assert "checksums" in error.message
    assert not (tmp_path / "intruded").exists()


@pytest.mark.parametrize("image_size", [7, 0, 1025])
def test_a_size_out_of_bounds_is_refused(tmp_path, image_size):
    error = refusal(Source("digits"), tmp_path, image_size)
    assert error.field == "dataset.image_size"
    assert f"{image_size} is outside 8 to 1024" in error.message


@pytest.mark.parametrize("kind", ["file", "folder", "cifar10", "svhn"])
@pytest.mark.parametrize("name", [None, "gone"])
def test_a_path_that_leads_nowhere_is_refused(tmp_path, kind, name):
    error = refusal(Source(kind, name and tmp_path / name), tmp_path / "cache")
    assert error.field == "dataset.source"
    assert "there is nothing at" in error.message
