"""References: from what a spec names to a file on this machine. Reads storage, never the files."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from pareconv.search.data.sources import Source
from pareconv.search.data.torchvision_table import TORCHVISION_SETS
from pareconv.search.errors import InvalidSpec
from pareconv.storage.access import EVERYTHING, Access
from pareconv.storage.database import Database
from pareconv.storage.errors import NotFound
from pareconv.storage.files import FileStore
from pareconv.storage.latencies import LatencyStore, LatencySubject
from pareconv.storage.settings import Settings
from pareconv.storage.uploads import UploadStore


class References:
    """Looks up uploads and checks server-side paths against the allowed roots.

    Every lookup raises InvalidSpec on the field that holds the reference; what `access` does not
    see is not there.
    """

    def __init__(self, settings: Settings, access: Access = EVERYTHING) -> None:
        self._settings = settings
        self._access = access
        self._database = Database(settings.database)
        self.files = FileStore.of(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    @property
    def trusts_programs(self) -> bool:
        """Whether a .pt2 file may be loaded."""
        return self._settings.trust_programs

    @property
    def cache(self) -> Path:
        """Where decoded data sets are kept."""
        return self._settings.home / "cache"

    def weights(self, reference: str) -> Path:
        """The local file of `teacher.weights` that are `teacher:<id>` or `file:<path>`."""
        return self._teacher_file("teacher.weights", reference)

    def model_file(self, reference: str) -> Path:
        """The local file of a `teacher.architecture` that is `teacher:<id>` or `file:<path>`."""
        return self._teacher_file("teacher.architecture", reference)

    def source(self, reference: str) -> Source:
        """The data set behind `dataset.source`."""
        kind, _, value = reference.partition(":")
        match kind:
            case "digits":
                return Source("digits")
            case "file":
                path = self._allowed("dataset.source", value)
                return Source("folder" if path.is_dir() else "file", path)
            case name if name in TORCHVISION_SETS:
                return Source(name, self._allowed("dataset.source", value))
        sha256 = self._upload("dataset", "dataset.source", value)
        return Source("file", self.files.local_path(sha256), fingerprint=sha256)

    def latencies(self, subject: LatencySubject) -> list[dict[str, Any]]:
        """What was measured so far of that device under these conditions."""
        store = LatencyStore(self._database, self._access)
        return [asdict(each) for each in store.of(**subject)]

    def latency_table(self, reference: str) -> tuple[LatencySubject, list[dict[str, Any]]]:
        """The table behind `budget.latency.table`: of what it is, and all that is in it."""
        id = reference.removeprefix("latency:")
        store = LatencyStore(self._database, self._access)
        try:
            table = store.get(id)
        except NotFound:
            raise InvalidSpec(
                "budget.latency.table",
                f"no latency table {id!r} is there; POST /latencies answers the id to use",
            ) from None
        subject: LatencySubject = {
            "device": table.device,
            "runtime": table.runtime,
            "batch": table.batch,
            "threads": table.threads,
            "versions": table.versions,
        }
        return subject, [asdict(each) for each in store.latencies(id)]

    def _teacher_file(self, field: str, reference: str) -> Path:
        kind, _, value = reference.partition(":")
        if kind == "file":
            return self._allowed(field, value)
        return self.files.local_path(self._upload("teacher", field, value))

    def _upload(self, kind: str, field: str, id: str) -> str:
        stores = {"teacher": UploadStore(self._database, "teacher", self._access)}
        stores["dataset"] = UploadStore(self._database, "dataset", self._access)
        try:
            return stores[kind].get(id).sha256
        except NotFound:
            raise InvalidSpec(
                field, f"no {kind} {id!r} was uploaded; POST /{kind}s answers the id to use"
            ) from None

    def _allowed(self, field: str, value: str) -> Path:
        try:
            path = Path(value).expanduser().resolve()
            is_there = path.exists()
        except (ValueError, RuntimeError, OSError) as error:  # a zero byte, a loop, too long
            raise InvalidSpec(field, f"{value[:200]!r} is not a path: {error}") from error
        roots = self._settings.allowed_roots
        if not any(path.is_relative_to(root) for root in roots):
            listed = ", ".join(map(str, roots)) or "none are set"
            raise InvalidSpec(
                field,
                f"{value} is outside the allowed roots ({listed}); set PARECONV_ALLOWED_ROOTS "
                "where the server runs, or upload the file",
            )
        if not is_there:
            raise InvalidSpec(field, f"{value} does not exist on the server")
        return path
