"""Files: bytes by their SHA-256, in a folder or behind any fsspec URL. Knows nothing of rows.

A file is staged in a local folder while it is hashed, and gets its name only when it is whole.
Behind a remote URL the local folder is a cache of what was stored or fetched. Every read checks
the hash first, so that no damaged byte is handed out.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from pareconv.storage.errors import CorruptFile, FileMissing, TooLarge

_CHUNK_BYTES = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DEFAULT_CACHE = Path("~/.cache/pareconv/files")


class FileStore:
    """The files at one URL. Threads and processes may share it: a name means the same bytes."""

    def __init__(self, url: str, *, cache: Path = _DEFAULT_CACHE) -> None:
        filesystem, root = url_to_fs(url)
        is_local = isinstance(filesystem, LocalFileSystem)
        self._folder = Path(root) if is_local else cache.expanduser()
        self._remote = None if is_local else _Remote(filesystem, root)

    def put(self, path: Path) -> str:
        """Store a copy of a local file; return its hash."""
        with path.open("rb") as stream:
            return self.put_stream(stream)[0]

    def put_stream(self, stream: BinaryIO, limit_bytes: int | None = None) -> tuple[str, int]:
        """Store what the stream gives; return hash and size in bytes.

        Raises TooLarge as soon as it is longer than `limit_bytes`. An error leaves nothing behind.
        """
        with self._staged() as staged:
            sha256, size_bytes = _copy(stream, staged, limit_bytes)
            if self._remote is not None:
                self._remote.upload(staged, sha256)
            self._keep(staged, sha256)
        return sha256, size_bytes

    def open(self, sha256: str) -> BinaryIO:
        """The whole, checked file for reading; raises as `local_path` does."""
        return self.local_path(sha256).open("rb")

    def local_path(self, sha256: str) -> Path:
        """A local path of the checked file; what is remote is fetched the first time.

        Raises FileMissing, or CorruptFile when the bytes no longer match the hash.
        """
        path = self._path(sha256)
        if self._remote is None:
            _check(path, sha256)
        elif not (path.is_file() and _hash_of(path) == sha256):
            self._fetch(self._remote, sha256)
        return path

    def exists(self, sha256: str) -> bool:
        if self._remote is not None:
            return self._remote.exists(_checked(sha256))
        return self._path(sha256).is_file()

    def delete(self, sha256: str) -> None:
        """Remove the file; no error when it is not there."""
        self._path(sha256).unlink(missing_ok=True)
        if self._remote is not None:
            self._remote.delete(sha256)

    def _fetch(self, remote: "_Remote", sha256: str) -> None:
        with self._staged() as staged:
            remote.download(sha256, staged)
            _check(staged, sha256)
            self._keep(staged, sha256)

    @contextmanager
    def _staged(self) -> Iterator[Path]:
        """A path for a file in the making, on the same file system; gone afterwards."""
        path = self._folder / "staging" / secrets.token_hex(16)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _keep(self, staged: Path, sha256: str) -> None:
        path = self._path(sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.replace(path)

    def _path(self, sha256: str) -> Path:
        return self._folder / _place(_checked(sha256))


class _Remote:
    """The same layout behind an fsspec URL."""

    def __init__(self, filesystem: Any, root: str) -> None:
        self._filesystem = filesystem
        self._root = root.rstrip("/")

    def upload(self, source: Path, sha256: str) -> None:
        staged = f"{self._root}/staging/{secrets.token_hex(16)}"
        try:
            self._filesystem.makedirs(f"{self._root}/staging", exist_ok=True)
            self._filesystem.put_file(str(source), staged)
            self._filesystem.makedirs(f"{self._root}/{sha256[:2]}", exist_ok=True)
            self._filesystem.mv(staged, self._path(sha256))
        finally:
            if self._filesystem.exists(staged):
                self._filesystem.rm_file(staged)

    def download(self, sha256: str, target: Path) -> None:
        try:
            self._filesystem.get_file(self._path(sha256), str(target))
        except FileNotFoundError as error:
            raise FileMissing(sha256) from error

    def exists(self, sha256: str) -> bool:
        return bool(self._filesystem.isfile(self._path(sha256)))

    def delete(self, sha256: str) -> None:
        if self.exists(sha256):
            self._filesystem.rm_file(self._path(sha256))

    def _path(self, sha256: str) -> str:
        return f"{self._root}/{_place(sha256)}"


def _checked(sha256: str) -> str:
    # The hash becomes a part of a path: anything else could lead out of the folder.
    if not _SHA256.fullmatch(sha256):
        raise FileMissing(sha256)
    return sha256


def _place(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"


def _copy(stream: BinaryIO, target: Path, limit_bytes: int | None) -> tuple[str, int]:
    digest = hashlib.sha256()
    size_bytes = 0
    with target.open("xb") as file:
        while chunk := stream.read(_CHUNK_BYTES):
            size_bytes += len(chunk)
            if limit_bytes is not None and size_bytes > limit_bytes:
                raise TooLarge(limit_bytes)
            digest.update(chunk)
            file.write(chunk)
        # Without this a crash of the machine could leave the name without the bytes.
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest(), size_bytes


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(path: Path, sha256: str) -> None:
    try:
        found = _hash_of(path)
    except FileNotFoundError as error:
        raise FileMissing(sha256) from error
    if found != sha256:
        raise CorruptFile(sha256, found)
