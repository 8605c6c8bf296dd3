import errno
import logging
import os
import random

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from pareconv.search.data import cache
from pareconv.search.data.mapped import Draft
from pareconv.search.data.originals import Originals, Pictures
from pareconv.search.errors import InvalidSpec

PARTS = ("train", "validation", "test")


def pictures(count, side=8):
    """Random ones, of two classes."""
    pixels = np.random.default_rng(count).integers(0, 256, (count, side, side, 3), np.uint8)
    return Pictures(
        torch.arange(count) % 2,
        name=str,
        size=lambda _: (side, side),
        rgb=lambda number: Image.fromarray(pixels[number]),
    )


@pytest.fixture(params=[False, True], ids=["without validation", "with validation"])
def originals(request):
    validation = pictures(3) if request.param else None
    return Originals(("cat", "dög"), pictures(4), pictures(2), validation)


@pytest.fixture
def place(tmp_path):
    return cache.entry(tmp_path / "new", "file", "abc", 8)


def kept(place, originals, size=8):
    return cache.fill(place, "pets", originals, size, is_exact=False)


def assert_are(images, originals):
    assert images.classes == originals.classes
    for part in PARTS:
        given = getattr(originals, part)
        found, labels = getattr(images, f"{part}_images"), getattr(images, f"{part}_labels")
        if given is None:
            assert found is labels is None
            continue
        pixels = [np.asarray(given.rgb(number)) for number in range(len(given))]
        assert np.array_equal(found.permute(0, 2, 3, 1), np.stack(pixels))
        assert torch.equal(labels, given.labels)


def test_what_is_kept_is_found_again_under_the_name_asked_for(place, originals):
    assert_are(kept(place, originals), originals)
    assert cache.find(place, "other", 8).name == "other"
    assert_are(cache.find(place, "pets", 8), originals)


def test_it_is_a_file_as_safetensors_reads_it(place, originals):
    images = kept(place, originals)
    found = load_file(place.own)
    assert torch.equal(found["train_images"], images.train_images)
    assert torch.equal(found["test_labels"], images.test_labels)


def test_nothing_but_the_file_is_left(place, originals):
    kept(place, originals)
    assert list(place.own.parent.iterdir()) == [place.own]


def test_nothing_is_left_of_images_that_cannot_be_decoded(place, originals):
    def corrupt(number):
        raise InvalidSpec("dataset.source", "is corrupt")

    bad = Pictures(originals.test.labels, name=str, size=originals.test.size, rgb=corrupt)
    with pytest.raises(InvalidSpec, match="is corrupt"):
        kept(place, Originals(originals.classes, originals.train, bad))
    assert not any(place.own.parent.iterdir())


def test_images_of_another_size_are_kept_apart(place, originals):
    kept(cache.entry(place.own.parent, "file", "abc", 16), originals, 16)
    assert not place.own.exists()
    assert cache.find(cache.entry(place.own.parent, "file", "abc", None), "pets", None) is None


def test_what_is_found_may_be_written_to_without_harm(place, originals):
    kept(place, originals).train_images.zero_()
    assert_are(cache.find(place, "pets", 8), originals)


def test_nothing_is_found_where_nothing_was_kept(place):
    assert cache.find(place, "pets", 8) is None


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def empty(path):
    path.write_bytes(b"")


def garbage(path):
    path.write_bytes(os.urandom(1000))


def other_keys(path):
    save_file({"x": torch.zeros(1)}, path, metadata={"classes": "[]"})


def no_metadata(path):
    save_file({"x": torch.zeros(1)}, path)


def bad_label(path):
    pixels, labels = torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.tensor([2])
    tensors = {"train_images": pixels, "test_images": pixels.clone()}
    tensors |= {"train_labels": labels, "test_labels": labels.clone()}
    save_file(tensors, path, metadata={"classes": '["cat", "dog"]'})


@pytest.mark.parametrize("damage", [cut, empty, garbage, other_keys, no_metadata, bad_label])
def test_a_damaged_file_is_made_anew(place, originals, caplog, damage):
    kept(place, originals)
    damage(place.own)
    with caplog.at_level(logging.WARNING):
        assert cache.find(place, "pets", 8) is None
    assert "made anew" in caplog.text
    assert_are(kept(place, originals), originals)
    assert_are(cache.find(place, "pets", 8), originals)


@pytest.mark.parametrize("seed", range(40))
def test_a_scrambled_header_is_no_harm(place, originals, seed):
    kept(place, originals)
    content, chance = bytearray(place.own.read_bytes()), random.Random(seed)
    for _ in range(3):
        content[chance.randrange(400)] = chance.randrange(256)
    place.own.write_bytes(content)
    found = cache.find(place, "pets", 8)
    assert found is None or len(found.train_images) == len(found.train_labels)


def test_images_that_cannot_be_kept_are_still_there(tmp_path, originals, caplog):
    (tmp_path / "new").write_bytes(b"")
    place = cache.entry(tmp_path / "new", "file", "abc", 8)
    with caplog.at_level(logging.WARNING):
        assert_are(kept(place, originals), originals)
    assert "cannot be kept" in caplog.text


def test_a_disk_that_is_too_small_is_found_out_before_anything_is_decoded(place, caplog):
    # No disk has room for it, nor any memory.
    labels, many = torch.zeros(2, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
    endless = Pictures(many.expand(10**12), name=str, size=None, rgb=None)
    few = Pictures(labels, name=str, size=None, rgb=None)
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(InvalidSpec, match="free some of its disk"),
    ):
        kept(place, Originals(("cat", "dog"), endless, few))
    assert os.strerror(errno.ENOSPC) in caplog.text or os.strerror(errno.EFBIG) in caplog.text
    assert not any(place.own.parent.iterdir())


def test_a_draft_that_is_not_kept_is_gone(tmp_path):
    with Draft.begin(tmp_path, {"a": ("uint8", (3,))}, {}) as draft:
        draft.arrays["a"][:] = 1
        assert len(list(tmp_path.iterdir())) == 1
    assert not any(tmp_path.iterdir())


def test_entries_differ_by_everything_that_changes_the_images(tmp_path):
    keys = [("file", "a", 8), ("file", "b", 8), ("file", "a", 9), ("folder", "a", 8)]
    assert len({cache.entry(tmp_path, *key).scaled for key in keys}) == 4
    assert len({cache.entry(tmp_path, *key).own for key in keys}) == 3
    assert cache.entry(tmp_path, "file", "../a", 8).own.parent == tmp_path


def test_a_file_is_known_by_its_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert cache.file_fingerprint(tmp_path / "a") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_a_folder_is_known_by_names_sizes_and_times(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    os.utime(tmp_path / "a", ns=(0, 0))
    prints = [cache.folder_fingerprint(tmp_path, ["a"])]
    assert prints == [cache.folder_fingerprint(tmp_path, ["a"])]
    os.utime(tmp_path / "a", ns=(0, 1))
    prints.append(cache.folder_fingerprint(tmp_path, ["a"]))
    (tmp_path / "a").write_bytes(b"abcd")
    os.utime(tmp_path / "a", ns=(0, 0))
    prints.append(cache.folder_fingerprint(tmp_path, ["a"]))
    (tmp_path / "a").rename(tmp_path / "b")
    prints.append(cache.folder_fingerprint(tmp_path, ["b"]))
    assert len(set(prints)) == 4
