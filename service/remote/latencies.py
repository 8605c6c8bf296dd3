"""The latency tables of a server, and the bundles that are timed elsewhere for them."""

from pathlib import Path
from typing import Any

from pareconv.service.remote.connection import Connection, parsed
from pareconv.service.remote.spec import Spec, json_of
from pareconv.service.views.latency import LatencyTableView
from pareconv.service.views.page import Page


class Latencies:
    """What a client calls `client.latencies`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def bundle(self, spec: Spec, to: str | Path) -> Path:
        """Save what a job of this spec would have timed, to be timed on another device."""
        return self._connection.save_answer("/latencies/bundles", Path(to), json=json_of(spec))

    def add(self, table: dict[str, Any]) -> LatencyTableView:
        """Keep what was measured on a device; the answer's `reference` names it in a spec."""
        return parsed(LatencyTableView, self._connection.post("/latencies", json=table))

    def page(
        self, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[LatencyTableView]:
        """One page of latency tables, newest first."""
        found = self._connection.get("/latencies", limit=limit, cursor=cursor)
        return parsed(Page[LatencyTableView], found)
