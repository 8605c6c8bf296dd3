"""Intake: how a file that a user sends becomes an upload, or leaves nothing behind. No HTTP."""

import threading
from copy import copy
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Self

from pareconv.models.errors import ModelError
from pareconv.search.errors import InvalidSpec, JobFailed
from pareconv.service.errors import TooManyUploads
from pareconv.service.references import unfinished_job_with
from pareconv.service.stores import Stores
from pareconv.service.tasks import Tasks
from pareconv.storage.access import Access
from pareconv.storage.errors import Conflict
from pareconv.storage.jobs import Job, JobStore
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
    """The uploads of one server. Threads may share it.

    A file may have `limit_bytes`, a token `limit_count` uploads; None is any number.
    """

    def __init__(
        self, stores: Stores, tasks: Tasks, *, limit_bytes: int, limit_count: int | None = None
    ) -> None:
        self._stores = stores
        self._tasks = tasks
        self._limit_bytes = limit_bytes
        self._limit_count = limit_count
        # Between the look for who names a file and its removal nobody may begin to name it.
        self._naming = threading.Lock()

    def seen_with(self, access: Access) -> Self:
        """The same, in which are only the uploads that `access` lets see."""
        seen = copy(self)
        seen._stores = self._stores.seen_with(access)
        return seen

    def take(self, kind: Kind, sent: SentFile) -> Received:
        """Store and check a file.

        Raises TooLarge, TooManyUploads, InvalidSpec (with the part as its field) when the file
        cannot be used, and what `Tasks` raises.
        """
        sha256, size_bytes = self._stores.files.put_stream(sent.stream, self._limit_bytes)
        try:
            # Looked at anew where somebody else sent it before: nothing tells that he did.
            is_new = self._stores.uploads[kind].find(sha256) is None
            if is_new:
                self._require_room()
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
        is_needed = self._job_with(received.kind, upload.id) is not None
        if received.is_new and not is_needed:
            self._stores.uploads[received.kind].delete(upload.id)
            self._drop(upload.sha256)

    def delete(self, kind: Kind, id: str) -> None:
        """Forget an upload, and its file where nothing else uses it; NotFound, or Conflict while a
        job needs the upload.
        """
        upload = self._stores.uploads[kind].get(id)
        job = self._job_with(kind, id)
        if job is not None:
            is_seen = self._stores.access.sees(job.token_id)
            raise Conflict(
                f"{kind} {id} is needed by {f'job {job.id}' if is_seen else 'a job of an admin'}, "
                f"which is {job.status}; cancel that job or wait until it has finished"
            )
        with self._naming:
            self._stores.uploads[kind].delete(id)
            self._stores.garbage.free([upload.sha256])

    def _job_with(self, kind: Kind, id: str) -> Job | None:
        """An unfinished job that needs the upload, whoever's it is."""
        return unfinished_job_with(JobStore(self._stores.database), kind, id)

    def _require_room(self) -> None:
        count = sum(each.count() for each in self._stores.uploads.values())
        if self._limit_count is not None and count >= self._limit_count:
            raise TooManyUploads(
                f"there are {count} uploads, and no more than {self._limit_count} are allowed "
                "(PARECONV_MAX_UPLOADS_PER_TOKEN on the server); delete one that is not needed"
            )

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
        if self._stores.uploads[kind].find(sha256) is None:
            self._require_room()  # others may have come while this one was looked at
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
