"""Files: named by their hash, whole or not there, checked on every read, local and remote."""

import hashlib
import io
import secrets
from pathlib import Path

import fsspec
import pytest

from pareconv.storage.errors import CorruptFile, FileMissing, TooLarge
from pareconv.storage.files import FileStore

BYTES = b"weights " * 400_000  # more than one chunk
SHA256 = hashlib.sha256(BYTES).hexdigest()
NOWHERE = "0" * 64


class Place:
    """A file store, and what truly lies where it keeps its files."""

    def __init__(self, url, cache):
        self.url = url
        self.cache = cache
        self.store = FileStore(url, cache=cache)
        self._filesystem, self._root = fsspec.core.url_to_fs(url)

    def files(self):
        return sorted(Path(found).name for found in self._filesystem.find(self._root))

    def damage(self, sha256):
        [path] = [found for found in self._filesystem.find(self._root) if found.endswith(sha256)]
        self._filesystem.pipe_file(path, b"damaged")

    def elsewhere(self):
        """The same store, seen from a machine that has nothing in its cache."""
        return FileStore(self.url, cache=self.cache / secrets.token_hex(4))


@pytest.fixture(params=["folder", "remote"])
def place(request, tmp_path):
    is_remote = request.param == "remote"
    url = f"memory://{secrets.token_hex(8)}/files" if is_remote else str(tmp_path / "files")
    return Place(url, tmp_path / "cache")


def leftovers(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_file_is_stored_by_its_hash(place, tmp_path):
    source = tmp_path / "weights.pt"
    source.write_bytes(BYTES)
    assert place.store.put(source) == SHA256
    assert source.read_bytes() == BYTES
    assert place.files() == [SHA256]
    assert place.store.exists(SHA256)


def test_a_stream_is_stored_and_read_again(place):
    assert place.store.put_stream(io.BytesIO(BYTES)) == (SHA256, len(BYTES))
    for store in (place.store, place.elsewhere()):
        with store.open(SHA256) as file:
            assert file.read() == BYTES
        assert store.local_path(SHA256).read_bytes() == BYTES


def test_the_same_bytes_are_stored_once(place):
    for _ in range(2):
        place.store.put_stream(io.BytesIO(BYTES))
    assert place.files() == [SHA256]


def test_an_empty_stream_is_a_file(place):
    sha256, size_bytes = place.store.put_stream(io.BytesIO())
    assert size_bytes == 0
    assert place.store.local_path(sha256).read_bytes() == b""


def test_a_stream_at_its_limit_is_stored_and_one_above_is_not(place, tmp_path):
    with pytest.raises(TooLarge, match="3,199,999 bytes"):
        place.store.put_stream(io.BytesIO(BYTES), limit_bytes=len(BYTES) - 1)
    assert place.files() == []
    assert leftovers(tmp_path) == []
    assert place.store.put_stream(io.BytesIO(BYTES), limit_bytes=len(BYTES)) == (SHA256, len(BYTES))


def test_a_stream_that_breaks_leaves_nothing(place, tmp_path):
    class Broken(io.BytesIO):
        def read(self, size=-1):
            if self.tell():
                raise ConnectionResetError("the client went away")
            return super().read(size)

    with pytest.raises(ConnectionResetError):
        place.store.put_stream(Broken(BYTES))
    assert place.files() == []
    assert leftovers(tmp_path) == []


def test_an_upload_that_breaks_leaves_nothing(place, tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(type(place._filesystem), "mv", refuse)
    with pytest.raises(OSError, match="no space left"):
        place.store.put_stream(io.BytesIO(BYTES))
    assert place.files() == []
    assert leftovers(tmp_path) == []


def test_a_damaged_file_is_never_handed_out(place):
    place.store.put_stream(io.BytesIO(BYTES))
    place.damage(SHA256)
    store = place.elsewhere()
    for read in (store.open, store.local_path):
        with pytest.raises(CorruptFile, match="upload or make it again"):
            read(SHA256)


def test_storing_a_damaged_file_again_mends_it(place):
    place.store.put_stream(io.BytesIO(BYTES))
    place.damage(SHA256)
    place.store.put_stream(io.BytesIO(BYTES))
    assert place.elsewhere().local_path(SHA256).read_bytes() == BYTES


def test_a_file_is_fetched_once_and_again_when_the_copy_is_damaged(tmp_path):
    place = Place(f"memory://{secrets.token_hex(8)}", tmp_path / "cache")
    place.store.put_stream(io.BytesIO(BYTES))
    store = place.elsewhere()
    copy = store.local_path(SHA256)
    first = copy.stat().st_ino, copy.stat().st_mtime_ns
    assert store.local_path(SHA256) == copy
    assert (copy.stat().st_ino, copy.stat().st_mtime_ns) == first
    copy.write_bytes(b"damaged")
    assert store.local_path(SHA256).read_bytes() == BYTES


def test_a_missing_file_is_missing(place, tmp_path):
    assert not place.store.exists(NOWHERE)
    for read in (place.store.open, place.store.local_path):
        with pytest.raises(FileMissing, match=NOWHERE):
            read(NOWHERE)
    assert leftovers(tmp_path) == []


def test_a_deleted_file_is_gone(place):
    place.store.put_stream(io.BytesIO(BYTES))
    for _ in range(2):
        place.store.delete(SHA256)
    assert place.files() == []
    assert not place.store.exists(SHA256)
    with pytest.raises(FileMissing):
        place.store.local_path(SHA256)


@pytest.mark.parametrize("name", ["", "../" * 5 + "etc/passwd", "/etc/passwd", SHA256.upper()])
def test_what_is_no_hash_never_becomes_a_path(place, name):
    place.store.put_stream(io.BytesIO(BYTES))
    for call in (place.store.open, place.store.local_path, place.store.exists, place.store.delete):
        with pytest.raises(FileMissing):
            call(name)
    assert place.files() == [SHA256]
