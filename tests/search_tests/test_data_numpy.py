"""Numpy archives: which arrays they are, what their values mean, and what is refused."""

import io
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch

from pareconv.search.data import archive, npy
from pareconv.search.data.formats import format_of
from pareconv.search.data.sources import Source, load
from pareconv.search.errors import InvalidSpec

RANDOM = np.random.default_rng(0)
LABELS = np.arange(20) % 2


def pixels(count, *shape):
    return RANDOM.integers(0, 256, (count, *shape), np.uint8)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def source(tmp_path):
    def save(arrays=None, **more):
        path = tmp_path / "images.zip"  # its name decides nothing
        with path.open("wb") as file:
            np.savez(file, **(arrays or {}), **more)
        assert format_of(path) == "npz"
        return Source("file", path)

    return save


@pytest.fixture
def loaded(source, cache):
    def run(**arrays):
        return load(source(arrays), image_size="auto", cache=cache)

    return run


@pytest.fixture
def refusal(source, cache):
    def run(**arrays):
        with pytest.raises(InvalidSpec) as caught:
            load(source(arrays), image_size=8, cache=cache)
        assert caught.value.field == "dataset.source"
        assert not cache.exists() or not any(cache.iterdir())
        return caught.value.message

    return run


def seen(images):
    """All images with their labels, in any order."""
    parts = [(images.train_images, images.train_labels), (images.test_images, images.test_labels)]
    return sorted(
        (image.numpy().tobytes(), label)
        for found, labels in parts
        for image, label in zip(found, labels.tolist(), strict=True)
    )


def test_the_names_of_keras(loaded):
    train, test = pixels(6, 8, 8, 3), pixels(2, 8, 8, 3)
    images = loaded(x_train=train, y_train=LABELS[:6], x_test=test, y_test=LABELS[:2])
    assert np.array_equal(images.train_images.permute(0, 2, 3, 1), train)
    assert np.array_equal(images.test_images.permute(0, 2, 3, 1), test)
    assert images.train_labels.tolist() == [0, 1] * 3
    assert (images.classes, images.validation_labels) == (("0", "1"), None)
    assert images.name == "images"


def test_the_names_of_medmnist(loaded):
    splits = {"train": 6, "val": 4, "test": 2}
    arrays = {f"{split}_images": pixels(count, 28, 28) for split, count in splits.items()}
    labels = {f"{split}_labels": LABELS[:count, None] for split, count in splits.items()}
    images = loaded(**arrays, **labels)
    for split, found in (
        ("train", images.train_images),
        ("val", images.validation_images),
        ("test", images.test_images),
    ):
        assert np.array_equal(found, arrays[f"{split}_images"][:, None].repeat(3, 1))
    assert images.validation_labels.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("names", [("images", "labels"), ("x_train", "y_train"), ("x", "y")])
def test_one_array_is_split_by_us(loaded, names):
    given = pixels(20, 8, 8, 3)
    images = loaded(**dict(zip(names, (given, LABELS), strict=True)))
    assert images.test_labels.bincount().tolist() == [2, 2]
    assert images.train_labels.bincount().tolist() == [8, 8]
    expected = [(image.transpose(2, 0, 1).tobytes(), n % 2) for n, image in enumerate(given)]
    assert seen(images) == sorted(expected)


def test_other_arrays_are_left_alone(loaded):
    images = loaded(images=pixels(20, 8, 8), labels=LABELS, notes=np.array([1.5]))
    assert len(images.train_labels) == 16


@pytest.mark.parametrize(
    ("shape", "to_nhwc"),
    [
        ((8, 8), lambda found: found[..., None].repeat(3, 3)),
        ((8, 8, 1), lambda found: found.repeat(3, 3)),
        ((8, 8, 3), lambda found: found),
        ((1, 8, 8), lambda found: found.transpose(0, 2, 3, 1).repeat(3, 3)),
        ((3, 8, 8), lambda found: found.transpose(0, 2, 3, 1)),
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_layout_becomes_rgb(loaded, shape, to_nhwc, order):
    given = pixels(4, *shape)
    stored = np.asarray(given, order=order)
    images = loaded(x_train=stored, y_train=LABELS[:4], x_test=stored, y_test=LABELS[:4])
    assert np.array_equal(images.train_images.permute(0, 2, 3, 1), to_nhwc(given))


@pytest.mark.parametrize("kind", [">i2", "int64", "float32", "uint16"])
def test_whole_numbers_to_255_are_taken_as_they_are(loaded, kind):
    given = pixels(20, 8, 8, 3)
    images = loaded(images=given.astype(kind), labels=LABELS)
    assert images.train_images.sum() + images.test_images.sum() == given.sum()


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_fractions_to_1_are_scaled(loaded, kind):
    given = np.array([0, 0.5, 1]).repeat(64).reshape(3, 8, 8).repeat(2, 0).astype(kind)
    images = loaded(x_train=given, y_train=LABELS[:6], x_test=given, y_test=LABELS[:6])
    assert images.train_images[:, 0, 0, 0].tolist() == [0, 0, 128, 128, 255, 255]


@pytest.mark.parametrize(
    "values",
    [[-1.0, 1.0], [0.0, 255.5], [0.0, 1.5], [0.0, float("nan")], [0.0, float("inf")], [0.0]],
)
def test_fractions_of_another_range_are_refused(refusal, values):
    given = np.resize(values, (20, 8, 8))
    assert "fractions from 0 to 1" in refusal(images=given, labels=LABELS)


@pytest.mark.parametrize("values", [[0, 1], [0, 256], [-1, 255]])
def test_numbers_that_may_be_no_pixels_are_refused(refusal, values):
    given = np.resize(values, (20, 8, 8))
    assert f"go from {min(values):g} to {max(values):g}" in refusal(images=given, labels=LABELS)


def test_arrays_of_different_scales_are_refused(refusal):
    message = refusal(
        x_train=pixels(6, 8, 8), y_train=LABELS[:6], x_test=np.full((2, 8, 8), 0.5), y_test=[0, 1]
    )
    assert "float64, uint8" in message


@pytest.mark.parametrize("shape", [(8,), (8, 8, 4), (3, 8, 3), (8, 8, 8), (2, 8, 8, 3), (0, 8)])
def test_shapes_that_are_no_images_are_refused(refusal, shape):
    message = refusal(images=np.zeros((20, *shape), np.uint8), labels=LABELS)
    assert "[N, H, W, C]" in message or "at least one pixel" in message


@pytest.mark.parametrize("kind", ["bool", "complex64", "M8[s]", "S1"])
def test_images_of_no_numbers_are_refused(refusal, kind):
    assert "save them as uint8" in refusal(images=np.zeros((20, 8, 8), kind), labels=LABELS)


@pytest.mark.parametrize(
    "labels",
    [LABELS.astype(np.uint8), LABELS[:, None], np.eye(2)[LABELS], np.eye(2, dtype=bool)[LABELS]],
    ids=["bytes", "column", "one-hot", "flags"],
)
def test_labels_may_have_several_forms(loaded, labels):
    images = loaded(
        x_train=pixels(20, 8, 8), y_train=labels, x_test=pixels(1, 8, 8), y_test=labels[:1]
    )
    assert images.train_labels.tolist() == LABELS.tolist()
    assert images.train_labels.dtype == torch.int64


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (LABELS * 0.5, "whole numbers"),
        (LABELS.astype(str), "whole numbers"),
        (LABELS + 1, "no image to train on has the label 0"),
        (LABELS * 2, "no image to train on has the label 1"),
        (LABELS * 10**12, "count from 0"),
        (LABELS - 1, "count from 0"),
        (LABELS * 0, "at least 2 classes"),
        (np.ones((20, 2)), "not one-hot"),
        (np.zeros((20, 2)), "not one-hot"),
        (np.full((20, 2), 0.5), "not one-hot"),
        (np.zeros((20, 2, 2)), "whole numbers"),
        (LABELS[:19], "one label for each image"),
        (np.int64(3), "one label for each image"),
    ],
)
def test_labels_that_are_none_are_refused(refusal, labels, reason):
    given = {"x_train": pixels(20, 8, 8), "x_test": pixels(2, 8, 8), "y_test": [0, 1]}
    assert reason in refusal(**given, y_train=labels)


def test_labels_of_test_that_train_does_not_know_are_refused(refusal):
    given = {"x_train": pixels(20, 8, 8), "y_train": LABELS, "x_test": pixels(2, 8, 8)}
    assert "the test split has the label 2" in refusal(**given, y_test=[0, 2])


@pytest.mark.parametrize("name", ["classes", "class_names"])
@pytest.mark.parametrize("kind", ["U", "S"])
def test_classes_may_have_names(loaded, name, kind):
    given = {"images": pixels(20, 8, 8), "labels": LABELS}
    assert loaded(**given, **{name: np.array(["cat", "dog"]).astype(kind)}).classes == (
        "cat",
        "dog",
    )


@pytest.mark.parametrize(
    "names",
    [["cat"], ["a", "b", "c"], ["cat", "cat"], ["", "b"], [b"\xff", b"a"], [1, 2], [["a", "b"]]],
)
def test_names_that_do_not_fit_are_refused(refusal, names):
    assert "name" in refusal(images=pixels(20, 8, 8), labels=LABELS, classes=np.array(names))


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"a": [1], "b": [2]}, "'a', 'b', none of which"),
        ({"images": pixels(4, 8, 8)}, "'images' without 'labels'"),
        ({"x_train": pixels(4, 8, 8), "train_labels": LABELS[:4]}, "without 'y_train'"),
        ({"x_test": pixels(4, 8, 8), "y_test": LABELS[:4]}, "none of which"),
        ({"images": pixels(0, 8, 8), "labels": LABELS[:0]}, "has no image"),
    ],
)
def test_arrays_that_are_not_known_are_refused(refusal, arrays, reason):
    assert reason in refusal(**arrays)


class Intruder:
    def __reduce__(self):
        return (open, ("intruded", "w"))


def npz(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return Source("file", path)


def header(text, values=b"", version=b"\1\0"):
    text = text.encode() + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + values


def declared(shape, kind="'|u1'", values=b""):
    return header(f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}}}", values)


@pytest.fixture
def refused(tmp_path, cache):
    """The refusal of an archive whose member `images` has these bytes."""

    def run(content, method=zipfile.ZIP_STORED):
        good = io.BytesIO()
        np.save(good, LABELS)
        source = npz(tmp_path / "a.npz", {"images": content, "labels": good.getvalue()}, method)
        with pytest.raises(InvalidSpec) as caught:
            load(source, image_size=8, cache=cache)
        assert not cache.exists() or not any(cache.iterdir())
        return caught.value.message

    return run


def test_objects_are_never_made(refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = declared("(20,)", "'|O'", pickle.dumps([Intruder()] * 20))
    assert "can run code" in refused(content)
    assert not (tmp_path / "intruded").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"no array",
        declared("(20, 8, 8)", values=bytes(100)),
        declared("(20, 8, 8)", values=bytes(20 * 64 + 1)),
        declared("(20, -8, 8)", values=bytes(20 * 64)),
        declared("(10**9, 10**9)"),
        declared("(1000000000, 1000000000, 1000)"),
        declared("20"),
        declared("(20, 8, 8)", "'x9'", bytes(20 * 64)),
        declared("(20, 8, 8)", "'|u1'", bytes(20 * 64)).replace(b"\1\0", b"\x09\0", 1),
        header("__import__('os').getcwd()"),
        header("(" * 3000),
        header("{'descr': '|u1', 'shape': (1,)}", b"1"),
    ],
)
def test_damaged_arrays_are_refused(refused, content):
    assert "the array 'images' cannot be read" in refused(content)


def test_fields_are_refused(refused):
    content = declared("(20,)", "[('a', '|u1'), ('b', '|u1')]", bytes(40))
    assert "instead of numbers" in refused(content)


def test_changed_bytes_are_refused(tmp_path, source, cache):
    given = source(images=pixels(20, 8, 8), labels=LABELS)
    content = bytearray(given.path.read_bytes())
    content[300] ^= 1
    given.path.write_bytes(content)
    with pytest.raises(InvalidSpec, match=r"'images' cannot be read .*CRC"):
        load(given, image_size=8, cache=cache)


def test_an_array_that_unpacks_to_too_much_is_refused(refused, monkeypatch):
    monkeypatch.setattr(npy, "RATIO_FREE_BYTES", 2**20)
    content = declared("(20, 512, 512)", values=bytes(20 * 2**18))
    assert "looks like a zip bomb" in refused(content, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(archive, "MAX_TOTAL_BYTES", 10**6)
    assert "the limit is 1,000,000" in refused(content)


def test_a_truncated_archive_is_refused(source, cache):
    given = source(images=pixels(20, 8, 8), labels=LABELS)
    given.path.write_bytes(given.path.read_bytes()[:-30])
    with pytest.raises(InvalidSpec, match="was cut short"):
        load(given, image_size=8, cache=cache)


def test_links_and_escapes_are_refused_as_in_any_zip(tmp_path, cache):
    source = npz(tmp_path / "a.npz", {"../images": declared("(0,)")})
    with pytest.raises(InvalidSpec, match="leads out of its folder"):
        load(source, image_size=8, cache=cache)


def test_an_archive_larger_than_memory_would_do(source, cache):
    """Nothing of it is held in memory."""
    given = source(images=pixels(20, 1024, 1024, 1), labels=LABELS)
    tracemalloc.start()
    try:
        load(given, image_size=8, cache=cache)
        assert tracemalloc.get_traced_memory()[1] < 15_000_000
    finally:
        tracemalloc.stop()
    assert len(list(cache.iterdir())) == 1
