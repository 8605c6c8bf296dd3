import logging
import os

import pytest
import torch
from safetensors.torch import save_file

from pareconv.search.data import cache
from pareconv.search.data.images import Images


@pytest.fixture
def images():
    def random(num):
        generator = torch.Generator().manual_seed(num)
        pixels = torch.randint(0, 256, (num, 3, 8, 8), dtype=torch.uint8, generator=generator)
        return pixels, torch.arange(num) % 2

    return Images("pets", ("cat", "dög"), *random(4), *random(2))


def assert_same(found, images):
    assert (found.name, found.classes) == (images.name, images.classes)
    for part in ("train_images", "train_labels", "test_images", "test_labels"):
        assert torch.equal(getattr(found, part), getattr(images, part))


def test_what_is_kept_is_found_again_under_the_name_asked_for(tmp_path, images):
    assert_same(cache.keep(tmp_path / "new/a.safetensors", images), images)
    assert cache.read(tmp_path / "new/a.safetensors", "other").name == "other"
    assert_same(cache.read(tmp_path / "new/a.safetensors", "pets"), images)


def test_nothing_but_the_file_is_left(tmp_path, images):
    cache.keep(tmp_path / "a.safetensors", images)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_what_is_found_may_be_written_to_without_harm(tmp_path, images):
    found = cache.keep(tmp_path / "a.safetensors", images)
    found.train_images.zero_()
    assert_same(cache.read(tmp_path / "a.safetensors", "pets"), images)


def test_nothing_is_found_where_nothing_was_kept(tmp_path):
    assert cache.read(tmp_path / "a.safetensors", "pets") is None


def test_decoding_happens_once(tmp_path, images):
    calls = []
    for _ in range(2):
        found = cache.through(tmp_path / "a.safetensors", "pets", lambda: calls.append(1) or images)
        assert_same(found, images)
    assert len(calls) == 1


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
def test_a_damaged_file_is_made_anew(tmp_path, images, caplog, damage):
    path = tmp_path / "a.safetensors"
    cache.keep(path, images)
    damage(path)
    with caplog.at_level(logging.WARNING):
        assert_same(cache.through(path, "pets", lambda: images), images)
    assert "made anew" in caplog.text
    assert_same(cache.read(path, "pets"), images)


def test_images_that_cannot_be_kept_are_still_there(tmp_path, images, caplog):
    (tmp_path / "file").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert_same(cache.keep(tmp_path / "file/a.safetensors", images), images)
    assert "cannot be kept" in caplog.text


def test_entries_differ_by_everything_that_changes_the_images(tmp_path):
    keys = [("zip", "a", "8"), ("zip", "b", "8"), ("zip", "a", "9"), ("folder", "a", "8")]
    assert len({cache.entry(tmp_path, *key) for key in keys}) == 4
    assert cache.entry(tmp_path, "zip", "../a", "8").parent == tmp_path


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
