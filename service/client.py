"""One server, and what it keeps by kind: jobs, teachers, data sets, libraries, latency tables."""

import os
from pathlib import Path
from typing import Self

from pareconv.service.remote.connection import Connection, parsed
from pareconv.service.remote.errors import ClientError
from pareconv.service.remote.jobs import Jobs
from pareconv.service.remote.latencies import Latencies
from pareconv.service.remote.libraries import Libraries
from pareconv.service.remote.spec import Spec
from pareconv.service.remote.submission import body
from pareconv.service.remote.uploads import Uploads
from pareconv.service.views.catalog import ArchitectureView, MethodView, OperatorView
from pareconv.service.views.inspection import InspectionView
from pareconv.service.views.page import Item, Page

DEFAULT_SERVER = "http://127.0.0.1:8000"


class Client:
    """One server's API. Every call raises a ClientError where it fails.

    Without `url` it asks the server of PARECONV_SERVER with the token of PARECONV_TOKEN, as the
    command line does, or else this machine's own. A token is what `pareconv token create`
    told, for a server that asks for one; whoever hears a request can use it, so send it over https
    or to this machine. `timeout` is in seconds, for one answer; the calls that wait for a check or
    move files take longer by themselves. Not for several threads at once.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float = 30.0,
    ) -> None:
        if url is None:
            url = os.environ.get("PARECONV_SERVER") or DEFAULT_SERVER
            token = token or os.environ.get("PARECONV_TOKEN") or None
        self._connection = Connection(url, token, timeout=timeout)
        self.jobs = Jobs(self._connection)
        self.teachers = Uploads(self._connection, "/teachers")
        self.datasets = Uploads(self._connection, "/datasets")
        self.libraries = Libraries(self._connection)
        self.latencies = Latencies(self._connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    @property
    def url(self) -> str:
        return self._connection.url

    def is_ready(self) -> bool:
        """Whether a server answers and its database and files work."""
        try:
            self._connection.get("/readyz")
        except ClientError:
            return False
        return True

    def inspect(
        self, spec: Spec, *, model: str | Path | None = None, data: str | Path | None = None
    ) -> InspectionView:
        """Blocks, options and reachable budgets, without a job; `model` and `data` are files to
        send along, which the server does not keep.
        """
        with body(spec, model, data) as sent:
            answer = self._connection.post("/inspect", **sent, patiently=True)
        return parsed(InspectionView, answer)

    def architectures(self, search: str | None = None) -> list[ArchitectureView]:
        return self._catalog(Page[ArchitectureView], "/architectures", search=search)

    def operators(self) -> list[OperatorView]:
        return self._catalog(Page[OperatorView], "/operators")

    def methods(self) -> list[MethodView]:
        return self._catalog(Page[MethodView], "/methods")

    def _catalog(self, page: type[Page[Item]], path: str, **query: str | None) -> list[Item]:
        # The server's first answer waits for the process that knows the networks.
        return parsed(page, self._connection.get(path, patiently=True, **query)).items
