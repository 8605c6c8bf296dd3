"""The jobs of a server: create, get, list."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pareconv.service.remote.connection import Connection, parsed
from pareconv.service.remote.job import Job
from pareconv.service.remote.spec import Spec
from pareconv.service.remote.submission import body
from pareconv.service.views.page import Page
from pareconv.storage.job_states import JobStatus


class Jobs:
    """What a client calls `client.jobs`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self,
        spec: Spec,
        *,
        model: str | Path | None = None,
        data: str | Path | None = None,
        priority: int = 0,
        idempotency_key: str | None = None,
    ) -> Job:
        """Create a job; `model` and `data` are files to send along with the spec.

        The same `idempotency_key` with the same spec gives the first job again. Without one a key
        of its own makes it safe to ask once more where the answer was lost, which is done.
        """
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        address = f"/jobs?priority={priority}" if priority else "/jobs"
        with body(spec, model, data) as sent:
            return self._job(self._connection.post_once(address, **sent, headers=headers))

    def get(self, id: str) -> Job:
        return Job.fetch(self._connection, id)

    def page(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        status: JobStatus | str | None = None,
    ) -> Page[Job]:
        """One page of jobs, newest first; `next` is the `cursor` of the one after."""
        found = self._connection.get("/jobs", limit=limit, cursor=cursor, status=status)
        page = parsed(Page[Job], found)
        return Page[Job](items=[job.joined(self._connection) for job in page.items], next=page.next)

    def list(self, *, status: JobStatus | str | None = None) -> Iterator[Job]:
        """Every job, newest first, asked for page by page."""
        cursor: str | None = None
        while True:
            page = self.page(limit=100, cursor=cursor, status=status)
            yield from page.items
            cursor = page.next
            if cursor is None:
                return

    def _job(self, answer: Any) -> Job:
        return Job.of(answer, self._connection)
