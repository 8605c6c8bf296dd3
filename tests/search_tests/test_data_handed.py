"""Torch data sets written as a numpy archive, and read from it as any other data."""

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, Subset, SubsetRandomSampler, TensorDataset

from pareconv.search.data.handed import splits_of, write
from pareconv.search.data.sources import Source, load


@pytest.fixture
def read(tmp_path):
    def read(data):
        write(splits_of(data), tmp_path / "data.npz")
        return load(Source("file", tmp_path / "data.npz"), image_size="auto", cache=tmp_path / "c")

    return read


@pytest.fixture
def some(digits):
    return digits.train_images[:200], digits.train_labels[:200]


def test_every_form_of_an_image_becomes_the_same(some, read):
    images, labels = some
    grey = images[:, :1]
    forms = [
        images,
        grey,
        grey[:, 0],
        images.float() / 255,
        (grey.double() / 255).requires_grad_(),
        [Image.fromarray(image[0].numpy()) for image in images],
        [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images],
    ]
    for form in forms:
        found = read(
            {
                "train": list(zip(form, labels, strict=True)),
                "test": list(zip(images, labels, strict=True)),
            }
        )
        assert torch.equal(found.train_images[:], images)
        assert torch.equal(found.train_labels, labels)


def test_splits_stay_what_they_are(some, read):
    images, labels = some
    train, validation, test = (TensorDataset(images[k::3], labels[k::3]) for k in range(3))
    found = read((train, validation, test))
    assert torch.equal(found.train_labels, labels[0::3])
    assert torch.equal(found.validation_labels, labels[1::3])
    assert torch.equal(found.test_labels, labels[2::3])
    found = read((train, None, test))
    assert found.validation_labels is None
    assert torch.equal(found.test_labels, labels[2::3])


def test_of_a_loader_each_image_is_taken_once_in_the_order_of_its_data_set(some, read):
    whole = TensorDataset(*some)
    loaders = [
        DataLoader(whole, batch_size=7, shuffle=True, drop_last=True),
        DataLoader(whole, batch_size=None),
        DataLoader(whole, batch_size=7, num_workers=1),
    ]
    for loader in loaders:
        found = read({"train": loader, "test": whole})
        assert torch.equal(found.train_images[:], some[0])
    chosen = list(range(0, 200, 2))
    part = DataLoader(whole, batch_size=7, sampler=SubsetRandomSampler(chosen))
    found = read({"train": part, "test": Subset(whole, chosen)})
    assert torch.equal(found.train_labels, some[1][chosen])
    assert torch.equal(found.test_labels, some[1][chosen])


def test_a_stream_of_images_is_read_to_its_end(some, read):
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(zip(*some, strict=True))

    for stream in (Stream(), DataLoader(Stream(), batch_size=16)):
        assert torch.equal(read({"train": stream, "test": Stream()}).train_labels, some[1])
