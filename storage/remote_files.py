"""Remote files: what the file store asks of a file system behind an fsspec URL."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pareconv.storage.errors import FilesUnavailable


class RemoteFiles:
    """Files by their place below `root`.

    Raises FileNotFoundError for one that is not there, and FilesUnavailable for whatever else a
    file system raises: each has errors of its own.
    """

    def __init__(self, filesystem: Any, root: str) -> None:
        self._filesystem = filesystem
        self._root = root.rstrip("/")

    def upload(self, source: Path, place: str) -> None:
        """Store a file, which gets its name only when it is whole."""
        with self._staged(source) as staged, _translated():
            self._filesystem.makedirs(self._path(place).rpartition("/")[0], exist_ok=True)
            self._filesystem.mv(staged, self._path(place))

    def check(self, source: Path) -> None:
        """Store a file and remove it."""
        with self._staged(source):
            pass

    def download(self, place: str, target: Path) -> None:
        with _translated():
            self._filesystem.get_file(self._path(place), str(target))

    def exists(self, place: str) -> bool:
        # Not `isfile`, for which a server that does not answer has no file.
        try:
            with _translated():
                return bool(self._filesystem.info(self._path(place))["type"] == "file")
        except FileNotFoundError:
            return False

    def modified(self, place: str) -> datetime:
        """When it was last stored."""
        return self._modified(self._path(place))

    def delete(self, place: str) -> None:
        """Remove a file; no error when it is not there."""
        with suppress(FileNotFoundError), _translated():
            self._filesystem.rm_file(self._path(place))

    def sizes(self) -> dict[str, int]:
        """Every file with its size in bytes, by its name without the folders."""
        return {path.rpartition("/")[2]: size for path, size in self._found(self._root).items()}

    def tidy(self, moment: datetime) -> None:
        """Remove what was left half stored before `moment`."""
        for path in self._found(self._path("staging")):
            with suppress(FileNotFoundError):
                if self._modified(path) < moment:
                    with _translated():
                        self._filesystem.rm_file(path)

    @contextmanager
    def _staged(self, source: Path) -> Iterator[str]:
        """The path of an uploaded copy; gone afterwards."""
        staged = self._path(f"staging/{secrets.token_hex(16)}")
        try:
            with _translated():
                self._filesystem.makedirs(self._path("staging"), exist_ok=True)
                self._filesystem.put_file(str(source), staged)
            yield staged
        finally:
            with suppress(FileNotFoundError, FilesUnavailable):
                if self.exists(staged.removeprefix(f"{self._root}/")):
                    self._filesystem.rm_file(staged)

    def _found(self, path: str) -> dict[str, int]:
        try:
            with _translated():
                found = self._filesystem.find(path, detail=True)
        except FileNotFoundError:  # nothing was ever stored
            return {}
        return {each: about["size"] for each, about in found.items()}

    def _modified(self, path: str) -> datetime:
        with _translated():
            modified: datetime = self._filesystem.modified(path)
        return modified if modified.tzinfo else modified.replace(tzinfo=UTC)

    def _path(self, place: str) -> str:
        return f"{self._root}/{place}"


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:  # of any file system's library
        reason = str(error) or type(error).__name__
        raise FilesUnavailable(
            f"the artifact store does not answer as it should: {reason}; check "
            "PARECONV_ARTIFACTS_URL, the credentials and that it runs"
        ) from error
