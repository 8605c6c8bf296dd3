"""Intake: how a file that a user sends becomes an upload, or leaves nothing behind. No HTTP."""

import threading
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from pareconv.models.errors import ModelError
from pareconv.search.errors import InvalidSpec, JobFailed
from pareconv.service.references import is_uploaded, unfinished_job_with
from pareconv.service.stores import Stores
from pareconv.service.tasks import Tasks
from pareconv.storage.errors import Conflict
from pareconv.storage.naming import is_file_named
from pareconv.storage.uploads import Kind, Upload

_MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file as it came: `field` is the part of the request, for messages."""

    field: str
    filename: str
    stream: BinaryIO
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """An upload, and whether it was not there before."""

    kind: Kind
    upload: Upload
    is_new: bool


class Intake:
    """The uploads of one server. Threads may share it."""

    def __init__(self, stores: Stores, tasks: Tasks, *, limit_bytes: int) -> None:
        self._stores = stores
        self._tasks = tasks
        self._limit_bytes = limit_bytes
        # Between the look for who names a file and its removal nobody may begin to name it.
        self._naming = threading.Lock()

    def take(self, kind: Kind, sent: SentFile) -> Received:
        """Store and check a file.

        Raises TooLarge, InvalidSpec (with the part as its field) when the file cannot be used,
        and what `Tasks` raises.
        """
        sha256, size_bytes = self._stores.files.put_stream(sent.stream, self._limit_bytes)
        try:
            is_new = not is_uploaded(self._stores.database, kind, sha256)
            summary = self._checked(kind, sha256, sent) if is_new else {}
            with self._naming:
                upload = self._add(kind, sent, sha256, size_bytes, summary)
        except BaseException:
            self._drop(sha256)
            raise
        return Received(kind, upload, is_new)

    def discard(self, received: Received) -> None:
        """Undo `take`, unless the upload was there before or a job has come to need it."""
        upload = received.upload
        is_needed = unfinished_job_with(self._stores.jobs, received.kind, upload.id) is not None
        if received.is_new and not is_needed:
            self._stores.uploads[received.kind].delete(upload.id)
            self._drop(upload.sha256)

    def delete(self, kind: Kind, id: str) -> None:
        """Forget an upload, and its file where nothing else uses it; NotFound, or Conflict while a
        job needs the upload.
        """
        upload = self._stores.uploads[kind].get(id)
        job = unfinished_job_with(self._stores.jobs, kind, id)
        if job is not None:
            raise Conflict(
                f"{kind} {id} is needed by job {job.id}, which is {job.status}; "
                "cancel that job or wait until it has finished"
            )
        with self._naming:
            self._stores.uploads[kind].delete(id)
            self._stores.garbage.free([upload.sha256])

    def _checked(self, kind: Kind, sha256: str, sent: SentFile) -> dict[str, Any]:
        try:
            return self._tasks.check(kind, self._stores.files.local_path(sha256))
        except InvalidSpec as error:
            raise InvalidSpec(sent.field, _named(error.message, sha256, sent)) from error
        except (ModelError, JobFailed) as error:
            raise InvalidSpec(sent.field, _named(str(error), sha256, sent)) from error

    def _add(
        self, kind: Kind, sent: SentFile, sha256: str, size_bytes: int, summary: dict[str, Any]
    ) -> Upload:
        if not self._stores.files.exists(sha256):
            raise Conflict("the same file was refused or deleted at this moment; send it again")
        filename = _plain(sent.filename.replace("\\", "/").split("/")[-1]) or "upload"
        name = _plain(sent.name or "") or PurePosixPath(filename).stem
        return self._stores.uploads[kind].add(name, filename, sha256, size_bytes, summary)

    def _drop(self, sha256: str) -> None:
        with self._naming:
            if not is_file_named(self._stores.database, sha256):
                self._stores.files.delete(sha256)


def _named(message: str, sha256: str, sent: SentFile) -> str:
    """The message about a stored file, by the name that its sender knows."""
    return message.replace(sha256, _plain(sent.filename) or "upload")


def _plain(text: str) -> str:
    return "".join(each for each in text if each.isprintable()).strip()[:_MAX_NAME]
