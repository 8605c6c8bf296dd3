"""The worker: claims a job, runs it, reports how it ended, and takes the next.

`python -m pareconv.search.worker`
"""

import logging
import os
import secrets
import signal
import socket
import threading

import optuna
import psutil

from pareconv.models.errors import ModelError
from pareconv.search.claim import LEASE_SECONDS, CancelAsked, Claim, LeaseLost, ShuttingDown
from pareconv.search.errors import InvalidSpec, SearchError
from pareconv.search.executors.child import Child
from pareconv.search.pipeline import run_job
from pareconv.search.run import Executor, Run
from pareconv.search.stores import Stores
from pareconv.storage.errors import StorageError, Unavailable
from pareconv.storage.events import Level
from pareconv.storage.job_states import JobStatus
from pareconv.storage.jobs import Job
from pareconv.storage.settings import Settings

logger = logging.getLogger("pareconv.search.worker")  # also when it is run as a script

PARENT_VARIABLE = "PARECONV_PARENT_PID"
_IDLE_SECONDS = 0.5
_AWAY_SECONDS = 2.0  # between two questions to a database that does not answer


class Worker:
    """Works on one job at a time until `ending` is set."""

    def __init__(self, settings: Settings, executor: Executor, ending: threading.Event) -> None:
        self._url = settings.database
        self._max_running_per_token = settings.max_running_jobs_per_token
        self._stores = Stores.open(settings)
        self._executor = executor
        self._ending = ending
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"

    def run(self) -> None:
        while not self._ending.is_set():
            try:
                if not self.work_once():
                    self._ending.wait(_IDLE_SECONDS)
            except Unavailable as error:
                logger.warning("%s; asking again in %g s", error, _AWAY_SECONDS)
                self._ending.wait(_AWAY_SECONDS)
        self._stores.database.close()

    def work_once(self) -> bool:
        """Claim a job and do what is left of it; False if there was none.

        Raises Unavailable when the database does not answer. A job in hand then waits for whoever
        claims it next, once its lease has run out at the latest.
        """
        job = self._stores.jobs.claim(
            self.owner, LEASE_SECONDS, max_running_per_token=self._max_running_per_token
        )
        if job is None:
            return False
        logger.info("job %s: claimed", job.id)
        with Claim(self._stores.jobs, job.id, self.owner, self._ending) as claim:
            self._work(job, claim)
        return True

    def _work(self, job: Job, claim: Claim) -> None:
        try:
            claim.check()
            run_job(Run(job, claim, self._stores, self._executor), self._url)
        except ShuttingDown:
            self._stores.jobs.release(job.id, self.owner)
            logger.info("job %s: given back", job.id)
        except LeaseLost:
            logger.warning("job %s: lost to another worker", job.id)
        except CancelAsked:
            self._end(job, JobStatus.CANCELLED)
        except Unavailable as error:
            logger.warning("job %s: left for now, as %s", job.id, error)
            self._stores.jobs.release(job.id, self.owner)
        except (SearchError, ModelError) as error:
            self._end(job, JobStatus.FAILED, error=problem(error))
        except Exception as error:  # the border of the job: it fails, the worker lives on
            logger.exception("job %s: unexpected failure", job.id)
            self._end(job, JobStatus.FAILED, error=problem(error))
        else:
            self._succeed(job)

    def _succeed(self, job: Job) -> None:
        try:
            is_done = self._stores.jobs.succeed(job.id, owner=self.owner)
        except StorageError:
            logger.exception("job %s: could not succeed", job.id)
            return
        if is_done:
            self._tell(job, JobStatus.SUCCEEDED)
        else:
            logger.info("job %s: given back, as a student was asked for", job.id)

    def _end(self, job: Job, status: JobStatus, *, error: dict[str, object] | None = None) -> None:
        try:
            self._stores.jobs.transition(job.id, status, owner=self.owner, error=error)
        except StorageError:
            logger.exception("job %s: could not become %s", job.id, status)
            return
        self._tell(job, status, detail=f": {error['detail']}" if error else "")

    def _tell(self, job: Job, status: JobStatus, *, detail: str = "") -> None:
        logger.info("job %s: %s", job.id, status)
        level: Level = "error" if status is JobStatus.FAILED else "info"
        self._stores.events.append(job.id, str(status), f"job {status}{detail}", level=level)


def problem(error: Exception) -> dict[str, object]:
    """The error as the API shows it (RFC 9457)."""
    if isinstance(error, InvalidSpec):
        return {
            "type": "/problems/invalid-request",
            "title": "The job cannot work as specified",
            "detail": str(error),
            "errors": [{"field": error.field, "message": error.message}],
        }
    if isinstance(error, (SearchError, ModelError)):
        return {"type": "/problems/job-failed", "title": "The job failed", "detail": str(error)}
    detail = f"unexpected {type(error).__name__}: {error}"
    return {
        "type": "/problems/internal-error",
        "title": "The job failed unexpectedly",
        "detail": detail,
    }


def _end_with_parent(ending: threading.Event) -> None:
    """A server that was killed leaves no worker behind."""
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is None:
        return

    def watch() -> None:
        while os.getppid() == int(parent) and not ending.wait(1):
            pass
        ending.set()

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    _end_with_parent(ending)
    # More than the machine has fails as an allocation, in the task, before the kernel kills anyone.
    with Child(memory_bytes=psutil.virtual_memory().total) as executor:
        Worker(Settings(), executor, ending).run()


if __name__ == "__main__":
    main()
