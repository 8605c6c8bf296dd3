"""The claim: a worker's hold on a job, renewed in the background, and why it may have to stop."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from pareconv.storage import logs
from pareconv.storage.job_states import JobStatus
from pareconv.storage.jobs import Job, JobStore

logger = logging.getLogger(__name__)

LEASE_SECONDS = 15.0
_RENEWAL_SECONDS = 1.0  # also how soon a cancellation or a pause is seen


class Stop(Exception):
    """The worker must let go of the job."""


class CancelAsked(Stop):
    """Somebody asked to cancel the job."""


class PauseAsked(Stop):
    """Somebody asked to pause the job."""


class OutOfTime(Stop):
    """The job has had all the time that its spec allows."""


class LeaseLost(Stop):
    """Another worker may have the job: write nothing more."""


class ShuttingDown(Stop):
    """This worker was asked to end; another goes on with the job."""


class Claim:
    """While entered, a thread renews the lease; `check` raises the Stop that applies, if any."""

    def __init__(
        self,
        jobs: JobStore,
        job: Job,
        owner: str,
        ending: threading.Event,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self.job_id, self.owner = job.id, owner
        self._limit_s: float | None = job.spec.get("time_limit_s")
        self._latest = time.monotonic() + (self._limit_s or 0.0) - job.worked_s
        self._jobs = jobs
        self._ending = ending
        self._beat = beat
        self._released = threading.Event()
        self._others: list[Callable[[], bool]] = []
        self._turn = threading.Lock()  # nothing is renewed once its holder was told that it is not
        self._status: JobStatus | None = JobStatus.RUNNING
        self._thread = threading.Thread(target=self._renew, daemon=True, name=f"claim-{job.id}")

    def __enter__(self) -> Self:
        self._status = self._jobs.renew(self.job_id, self.owner, LEASE_SECONDS)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._thread.join()

    def check(self) -> None:
        """Raise the Stop that applies now; cheap enough for anywhere, and a sign of life."""
        self._beat()
        if self._status is None:
            raise LeaseLost("another worker may have the job")
        if self._status is JobStatus.CANCELLING:
            raise CancelAsked("the job was cancelled")
        if self._status is JobStatus.PAUSING:
            raise PauseAsked("the job was paused")
        if self._ending.is_set():
            raise ShuttingDown("the worker is shutting down")
        if self._limit_s is not None and time.monotonic() > self._latest:
            raise OutOfTime(
                f"the job took longer than its time_limit_s of {self._limit_s:g} s; what it found "
                "is kept, and resuming it gives it as much time again"
            )

    @contextmanager
    def holding(self, renew: Callable[[], bool]) -> Iterator[None]:
        """Renew another lease along with the job's; losing it is losing the job."""
        with self._turn:
            self._others.append(renew)
        try:
            yield
        finally:
            with self._turn:
                self._others.remove(renew)

    def _renew(self) -> None:
        with logs.about(job=self.job_id):
            self._keep()

    def _keep(self) -> None:
        while self._status is not None and not self._released.wait(_RENEWAL_SECONDS):
            try:
                self._status = self._jobs.renew(self.job_id, self.owner, LEASE_SECONDS)
                with self._turn:
                    if not all(renew() for renew in self._others):
                        self._status = None
            except Exception:  # the database may be away for a moment; the lease decides
                logger.exception("the lease could not be renewed")
