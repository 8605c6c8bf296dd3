"""Files: bytes by their SHA-256, in a folder or behind any fsspec URL. Knows nothing of rows.

A file is staged in a local folder while it is hashed, and gets its name only when it is whole.
Behind a remote URL the local folder is a cache of what was stored or fetched, which processes of
one machine share. Every read checks the hash first, so that no damaged byte is handed out.
"""

import errno
import fcntl
import hashlib
import io
import os
import re
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Self

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from pareconv.storage.errors import CorruptFile, FileMissing, FilesUnavailable, TooLarge
from pareconv.storage.quota import Quota
from pareconv.storage.remote_files import RemoteFiles
from pareconv.storage.settings import Settings

_CHUNK_BYTES = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


class FileStore:
    """The files at one URL. Threads and processes may share it: a name means the same bytes.

    `cache` is needed behind a remote URL. With `quota_bytes` nothing is stored beyond so many.
    """

    def __init__(
        self, url: str, *, cache: Path | None = None, quota_bytes: int | None = None
    ) -> None:
        # What other processes store or delete must be seen at once.
        filesystem, root = url_to_fs(url, use_listings_cache=False)
        is_local = isinstance(filesystem, LocalFileSystem)
        assert is_local or cache is not None
        self._folder = Path(root) if is_local else Path(cache or root)
        self._remote = None if is_local else RemoteFiles(filesystem, root)
        self._quota = None if quota_bytes is None else Quota(quota_bytes, self.used_bytes)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The files of a deployment, with the copies that this machine keeps under its home."""
        return cls(
            settings.artifacts, cache=settings.home / "fetched", quota_bytes=settings.quota_bytes
        )

    def put(self, path: Path) -> str:
        """Store a copy of a local file; return its hash."""
        with path.open("rb") as stream:
            return self.put_stream(stream)[0]

    def put_stream(self, stream: BinaryIO, limit_bytes: int | None = None) -> tuple[str, int]:
        """Store what the stream gives; return hash and size in bytes.

        Raises TooLarge as soon as it is longer than `limit_bytes`, QuotaReached where there is no
        room for it, FilesUnavailable where it cannot be written. An error leaves nothing behind.
        """
        with self._staged() as staged:
            try:
                sha256, size_bytes = _copy(stream, staged, limit_bytes)
                if self._quota is not None and not self.exists(sha256):
                    self._quota.take(size_bytes)
                # Also what is there already: a file that was just stored is nobody's garbage yet.
                if self._remote is not None:
                    self._remote.upload(staged, _place(sha256))
                self._keep(staged, sha256)
            except OSError as error:
                if error.errno in _NO_ROOM:
                    raise FilesUnavailable(_full(self._folder, error)) from error
                raise
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
        elif not _is_whole(path, sha256):
            self._fetch(self._remote, sha256)
        return path

    def exists(self, sha256: str) -> bool:
        if self._remote is not None:
            return self._remote.exists(_place(_checked(sha256)))
        return self._path(sha256).is_file()

    def delete(self, sha256: str) -> None:
        """Remove the file; no error when it is not there."""
        self._path(sha256).unlink(missing_ok=True)
        if self._remote is not None:
            self._remote.delete(_place(sha256))

    def sizes(self) -> dict[str, int]:
        """Every stored file, by its hash, with its size in bytes."""
        if self._remote is not None:
            found = self._remote.sizes()
        else:
            found = {path.name: _size(path) for path in self._folder.glob("??/*")}
        return {name: size for name, size in found.items() if _SHA256.fullmatch(name)}

    def used_bytes(self) -> int:
        """What all stored files take together."""
        return sum(self.sizes().values())

    def is_older(self, sha256: str, moment: datetime) -> bool:
        """Whether it is there and was last stored before `moment`."""
        try:
            if self._remote is not None:
                return self._remote.modified(_place(_checked(sha256))) < moment
            return _modified(self._path(sha256)) < moment
        except FileNotFoundError:
            return False

    def delete_older(self, sha256: str, moment: datetime) -> bool:
        """Remove the file if it was last stored before `moment`; whether it was removed.

        Whoever stores the same bytes meanwhile keeps them: in a folder always, behind a URL unless
        that falls between the look and the removal, two requests that follow each other.
        """
        if not self.is_older(sha256, moment):
            return False
        if self._remote is not None:
            self.delete(sha256)
            return True
        path = self._path(sha256)
        with self._staged() as taken:
            try:
                path.replace(taken)
            except FileNotFoundError:
                return False
            if _modified(taken) < moment:
                return True
            with suppress(FileExistsError):  # stored a third time
                path.hardlink_to(taken)
            return False

    def tidy(self, named: Collection[str], moment: datetime) -> None:
        """Remove from before `moment` what processes that were killed left half stored, and this
        machine's copies of remote files that are not `named`.
        """
        for path in self._folder.glob("staging/*"):
            _unlink_older(path, moment)
        if self._remote is not None:
            self._remote.tidy(moment)
            for path in self._folder.glob("??/*"):
                if path.name not in named:
                    _unlink_older(path, moment)

    def check(self) -> None:
        """Store a file and remove it, whatever the quota; FilesUnavailable where that fails."""
        try:
            with self._staged() as staged:
                _copy(io.BytesIO(b"written to see that it can be"), staged, None)
                if self._remote is not None:
                    self._remote.check(staged)
        except OSError as error:
            raise FilesUnavailable(f"{self._folder} cannot be written to: {error}") from error

    def _fetch(self, remote: RemoteFiles, sha256: str) -> None:
        with self._alone(sha256), self._staged() as staged:
            if _is_whole(self._path(sha256), sha256):  # by the one that we waited for
                return
            try:
                remote.download(_place(sha256), staged)
            except FileNotFoundError as error:
                raise FileMissing(sha256) from error
            _check(staged, sha256)
            self._keep(staged, sha256)

    @contextmanager
    def _alone(self, sha256: str) -> Iterator[None]:
        """One process of this machine at a time; the lock of one that dies is free."""
        path = self._folder / "locks" / sha256[:2]
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

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


def _is_whole(path: Path, sha256: str) -> bool:
    return path.is_file() and _hash_of(path) == sha256


def _check(path: Path, sha256: str) -> None:
    try:
        found = _hash_of(path)
    except FileNotFoundError as error:
        raise FileMissing(sha256) from error
    if found != sha256:
        raise CorruptFile(sha256, found)


def _modified(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):  # deleted meanwhile
        return path.stat().st_size
    return 0


def _unlink_older(path: Path, moment: datetime) -> None:
    with suppress(FileNotFoundError):
        if _modified(path) < moment:
            path.unlink()


def _full(folder: Path, error: OSError) -> str:
    return (
        f"no file can be stored in {folder}: {error.strerror}; free some of the disk, for example "
        "by deleting jobs and by `pareconv gc`"
    )
