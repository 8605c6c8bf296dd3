"""A job worked on in the process that asks for it, in a home that is its own."""

import secrets
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pareconv.search.claim import LEASE_SECONDS, Claim, Stop
from pareconv.search.errors import JobFailed
from pareconv.search.executors.inline import Inline
from pareconv.search.pipeline import run_job
from pareconv.search.spec import JobSpec
from pareconv.search.stores import Stores
from pareconv.search.watching import Shown, Watched
from pareconv.search.worker import problem
from pareconv.storage.errors import StorageError
from pareconv.storage.job_states import RESUMABLE, JobStatus
from pareconv.storage.jobs import Job

_WAIT_SECONDS = 0.5


@dataclass(frozen=True)
class Place:
    """Where jobs are kept, and shown."""

    stores: Stores
    database_url: str
    shown: Shown


def done(place: Place, spec: JobSpec) -> Job:
    """The job after all that is left to do of it: nothing, where the same was done before.

    Raises what its stages raise. One that is interrupted, as by Ctrl-C, is set aside, and the same
    call goes on with it.
    """
    jobs = place.stores.jobs
    job = _same(place.stores, spec.to_json()) or jobs.create(spec.to_json(), name=spec.name)[0]
    if job.status in RESUMABLE:
        job = jobs.resume(job.id)
    if job.status is not JobStatus.SUCCEEDED:
        _work(place, job.id)
    return jobs.get(job.id)


def _same(stores: Stores, spec: dict[str, Any]) -> Job | None:
    """The newest job of the same spec: its files are named by what is in them."""
    cursor = None
    while True:
        page, cursor = stores.jobs.page(100, cursor)
        for job in page:
            if job.spec == spec:
                return job
        if cursor is None:
            return None


def _work(place: Place, id: str) -> None:
    stores = place.stores
    owner = f"compress:{secrets.token_hex(8)}"
    job = _claimed(stores, id, owner)
    try:
        with Claim(stores.jobs, job, owner, threading.Event()) as claim:
            run_job(Watched(job, claim, stores, Inline(), place.shown), place.database_url)
        stores.jobs.succeed(id, owner=owner)
    except Stop as stop:
        _set_aside(stores, id, owner)
        raise JobFailed(f"{stop}; call again to go on") from stop
    except Exception as error:
        with suppress(StorageError):  # what went wrong is more than that it cannot be kept
            stores.jobs.transition(id, JobStatus.FAILED, owner=owner, error=problem(error))
        raise
    except BaseException:  # Ctrl-C
        _set_aside(stores, id, owner)
        raise


def _claimed(stores: Stores, id: str, owner: str) -> Job:
    """The job in our hands, as soon as a process that was killed has lost it.

    What else was left undone in this home is set aside; the same call goes on with it.
    """
    latest = time.monotonic() + 2 * LEASE_SECONDS
    while time.monotonic() < latest:
        job = stores.jobs.claim(owner, LEASE_SECONDS)
        if job is None:
            time.sleep(_WAIT_SECONDS)
        elif job.id == id:
            return job
        else:
            _set_aside(stores, job.id, owner)
    raise JobFailed("another process works on the same job in this home; let it end, or end it")


def _set_aside(stores: Stores, id: str, owner: str) -> None:
    with suppress(StorageError):  # lost meanwhile
        stores.jobs.cancel(id)
        stores.jobs.transition(id, JobStatus.CANCELLED, owner=owner)
