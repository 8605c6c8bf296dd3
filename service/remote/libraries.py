"""The libraries of a server, and the fronts that they predict."""

from pareconv.service.remote.connection import Connection, parsed, path_of
from pareconv.service.views.library import LibraryView, LibraryWithEntries
from pareconv.service.views.page import Page
from pareconv.service.views.prediction import PredictedFrontView


class Libraries:
    """What a client calls `client.libraries`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def page(self, *, limit: int | None = None, cursor: str | None = None) -> Page[LibraryView]:
        """One page of libraries, newest first."""
        found = self._connection.get("/libraries", limit=limit, cursor=cursor)
        return parsed(Page[LibraryView], found)

    def get(self, id: str) -> LibraryWithEntries:
        """A library with its `entries`, one for each option of each block."""
        return parsed(LibraryWithEntries, self._connection.get(path_of("libraries", id)))

    def front(
        self, id: str, *, flops: float | str | None = None, params: float | str | None = None
    ) -> PredictedFrontView:
        """The front that a library predicts, within shares (0.4, "40%") or absolute limits."""
        # The server's first answer waits for the process that solves it.
        path = path_of("libraries", id, "front")
        found = self._connection.get(path, patiently=True, flops=flops, params=params)
        return parsed(PredictedFrontView, found)

    def delete(self, id: str) -> None:
        self._connection.delete(path_of("libraries", id))
