"""The uploads of a server, of either kind: teachers or data sets."""

from pathlib import Path

from pareconv.service.remote.connection import Connection, OnBytes, parsed, path_of
from pareconv.service.views.page import Page
from pareconv.service.views.upload import UploadView


class Uploads:
    """What a client calls `client.teachers` and `client.datasets`."""

    def __init__(self, connection: Connection, path: str) -> None:
        self._connection = connection
        self._path = path

    def upload(self, file: str | Path, *, on_bytes: OnBytes | None = None) -> UploadView:
        """Store a network's file or an archive of images; `on_bytes` hears of every piece sent.

        The answer's `reference` names it in a spec.
        """
        return parsed(UploadView, self._connection.upload(self._path, Path(file), on_bytes))

    def get(self, id: str) -> UploadView:
        return parsed(UploadView, self._connection.get(self._path + path_of(id)))

    def page(self, *, limit: int | None = None, cursor: str | None = None) -> Page[UploadView]:
        """One page, newest first."""
        found = self._connection.get(self._path, limit=limit, cursor=cursor)
        return parsed(Page[UploadView], found)

    def delete(self, id: str) -> None:
        self._connection.delete(self._path + path_of(id))
