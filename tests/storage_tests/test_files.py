"""Files: named by their hash, whole or not there, checked on every read, local and remote."""

import errno
import hashlib
import io
import os
import secrets
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pytest

from pareconv.storage.errors import (
    CorruptFile,
    FileMissing,
    FilesUnavailable,
    QuotaReached,
    TooLarge,
)
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
        self._filesystem, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)

    def files(self):
        """Whole or not."""
        try:
            found = self._filesystem.find(self._root)
        except FileNotFoundError:  # no bucket
            return []
        return sorted(Path(each).name for each in found if "/locks/" not in each)

    def damage(self, sha256):
        [path] = [found for found in self._filesystem.find(self._root) if found.endswith(sha256)]
        self._filesystem.pipe_file(path, b"damaged")

    def elsewhere(self):
        """The same store, seen from a machine that has nothing in its cache."""
        return FileStore(self.url, cache=self.cache / secrets.token_hex(4))


@pytest.fixture(params=["folder", "memory", "s3"])
def url(request, tmp_path):
    if request.param == "s3":
        return request.getfixturevalue("s3")
    in_memory = request.param == "memory"
    return f"memory://{secrets.token_hex(8)}/files" if in_memory else str(tmp_path / "files")


@pytest.fixture
def place(url, tmp_path):
    return Place(url, tmp_path / "cache")


def leftovers(folder):
    return [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "locks"]


def hours(number):
    return timedelta(hours=number)


NOW = datetime.now(UTC)


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
    with pytest.raises((OSError, FilesUnavailable), match="no space left"):
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


@pytest.mark.parametrize("url", ["memory", "s3"], indirect=True)
def test_a_file_is_fetched_once_and_again_when_the_copy_is_damaged(place):
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


def test_the_sizes_of_whole_files_are_told(place):
    assert place.store.sizes() == {}
    place.store.put_stream(io.BytesIO(BYTES))
    empty, _ = place.store.put_stream(io.BytesIO())
    assert place.store.sizes() == {SHA256: len(BYTES), empty: 0}
    assert place.store.used_bytes() == len(BYTES)


def test_a_file_is_as_old_as_its_last_storing(place):
    place.store.put_stream(io.BytesIO(BYTES))
    assert place.store.is_older(SHA256, NOW + hours(1))
    assert not place.store.is_older(SHA256, NOW - hours(1))
    assert not place.store.is_older(NOWHERE, NOW + hours(1))


def test_only_what_was_stored_before_is_removed(place):
    place.store.put_stream(io.BytesIO(BYTES))
    assert not place.store.delete_older(SHA256, NOW - hours(1))
    assert place.store.local_path(SHA256).read_bytes() == BYTES
    assert place.store.delete_older(SHA256, NOW + hours(1))
    assert place.files() == []
    assert not place.store.delete_older(SHA256, NOW + hours(1))


def test_what_is_stored_again_is_young_again(tmp_path):
    place = Place(str(tmp_path / "files"), None)
    place.store.put_stream(io.BytesIO(BYTES))
    path = place.store.local_path(SHA256)
    os.utime(path, (0, 0))
    assert place.store.is_older(SHA256, NOW - hours(1))
    place.store.put_stream(io.BytesIO(BYTES))
    assert not place.store.is_older(SHA256, NOW - hours(1))


def test_what_is_stored_between_the_look_and_the_removal_stays(tmp_path, monkeypatch):
    store = FileStore(str(tmp_path))
    store.put_stream(io.BytesIO(BYTES))
    os.utime(store.local_path(SHA256), (0, 0))

    def look(sha256, moment):
        store.put_stream(io.BytesIO(BYTES))
        return True

    monkeypatch.setattr(store, "is_older", look)
    assert not store.delete_older(SHA256, NOW - hours(1))
    assert store.local_path(SHA256).read_bytes() == BYTES
    assert [path.name for path in leftovers(tmp_path)] == [SHA256]


def test_what_a_killed_process_left_half_stored_is_tidied_away(place):
    for folder in {place.cache, Path(place.url)} if "://" not in place.url else {place.cache}:
        (folder / "staging").mkdir(parents=True, exist_ok=True)
        (folder / "staging" / "half").write_bytes(b"half")
    place.store.put_stream(io.BytesIO(BYTES))
    place._filesystem.pipe_file(f"{place._root}/staging/half", b"half")
    place.store.tidy({SHA256}, NOW - hours(1))
    assert place.files() == [SHA256, "half"]
    place.store.tidy({SHA256}, NOW + hours(1))
    assert place.files() == [SHA256]
    assert place.store.local_path(SHA256).read_bytes() == BYTES


@pytest.mark.parametrize("url", ["memory", "s3"], indirect=True)
def test_copies_that_nobody_names_are_tidied_away(place):
    place.store.put_stream(io.BytesIO(BYTES))
    other, _ = place.store.put_stream(io.BytesIO(b"other"))
    place.store.tidy({SHA256}, NOW + hours(1))
    assert [path.name for path in leftovers(place.cache)] == [SHA256]
    assert place.files() == sorted([SHA256, other])


def test_beyond_the_quota_nothing_is_stored(url, tmp_path):
    place = Place(url, tmp_path / "cache")
    place.store.put_stream(io.BytesIO(BYTES))
    limited = FileStore(url, cache=tmp_path / "cache", quota_bytes=len(BYTES) + 10)
    limited.put_stream(io.BytesIO(b"0123456789"))
    limited.put_stream(io.BytesIO(BYTES))  # takes no more than it does already
    with pytest.raises(QuotaReached, match=r"3,200,010 of 3,200,010 bytes.*pareconv gc"):
        limited.put_stream(io.BytesIO(b"x"))
    assert len(place.files()) == 2
    limited.check()


def test_room_that_somebody_made_counts_at_once(url, tmp_path):
    limited = FileStore(url, cache=tmp_path / "cache", quota_bytes=len(BYTES))
    limited.put_stream(io.BytesIO(BYTES))
    with pytest.raises(QuotaReached):
        limited.put_stream(io.BytesIO(b"x"))
    FileStore(url, cache=tmp_path / "elsewhere").delete(SHA256)
    limited.put_stream(io.BytesIO(b"x"))


def test_a_full_disk_is_told_with_the_remedy(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(FilesUnavailable, match="No space left on device; free"):
        FileStore(str(tmp_path)).put_stream(io.BytesIO(BYTES))
    assert leftovers(tmp_path) == []


def test_a_store_that_does_not_answer_is_told(s3, s3_server, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    store = FileStore(f"{s3}-away", cache=tmp_path)
    store._remote._filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
    store._remote._filesystem.retries = 1
    for call in (lambda: store.put_stream(io.BytesIO(BYTES)), lambda: store.exists(SHA256)):
        with pytest.raises(FilesUnavailable, match="PARECONV_ARTIFACTS_URL"):
            call()


def test_a_check_leaves_nothing(place, tmp_path):
    place.store.check()
    assert place.files() == []
    assert leftovers(tmp_path) == []


FETCH = """
import sys, time
from pathlib import Path
from pareconv.storage.files import FileStore
from pareconv.storage.remote_files import RemoteFiles
url, cache, sha256, gate, log = sys.argv[1:]
download = RemoteFiles.download
def counted(self, place, target):
    with open(log, "a") as file:
        file.write("x")
    download(self, place, target)
    time.sleep(0.3)  # the other surely wants it meanwhile
RemoteFiles.download = counted
store = FileStore(url, cache=Path(cache))
print("ready", flush=True)
while not Path(gate).exists():
    time.sleep(0.001)
print(store.local_path(sha256).stat().st_size, flush=True)
"""


def test_two_processes_of_one_machine_fetch_a_file_once(s3, tmp_path):
    FileStore(s3, cache=tmp_path / "elsewhere").put_stream(io.BytesIO(BYTES))
    gate, log = tmp_path / "gate", tmp_path / "log"
    arguments = [s3, str(tmp_path / "cache"), SHA256, str(gate), str(log)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", FETCH, *arguments], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    gate.touch()
    assert [process.communicate()[0].strip() for process in started] == [str(len(BYTES))] * 2
    assert log.read_text() == "x"
