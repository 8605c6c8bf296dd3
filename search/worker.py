"""The worker: claims a job, runs it, reports how it ended, and takes the next.

`python -m pareconv.search.worker`; `--help` tells the options, which `pareconv worker` has too.
"""

import argparse
import logging
import os
import re
import secrets
import signal
import socket
import threading
import time
from pathlib import Path

import optuna

from pareconv.models.errors import ModelError
from pareconv.search.claim import (
    LEASE_SECONDS,
    CancelAsked,
    Claim,
    LeaseLost,
    OutOfTime,
    PauseAsked,
    ShuttingDown,
)
from pareconv.search.errors import InvalidSpec, JobFailed, NoExecutor, SearchError
from pareconv.search.executors.choice import chosen
from pareconv.search.executors.settings import ExecutorSettings
from pareconv.search.pipeline import run_job
from pareconv.search.presence import Presence
from pareconv.search.run import Executor, Run
from pareconv.search.stores import Stores
from pareconv.storage import logs
from pareconv.storage.errors import FilesError, StorageError, Unavailable
from pareconv.storage.job_states import JobStatus
from pareconv.storage.jobs import Job
from pareconv.storage.settings import Settings

logger = logging.getLogger("pareconv.search.worker")  # also when it is run as a script

PARENT_VARIABLE = "PARECONV_PARENT_PID"
_IDLE_SECONDS = 0.5
_AWAY_SECONDS = 2.0  # between two questions to a database that does not answer


class Worker:
    """Works on one job at a time until `ending` is set."""

    def __init__(
        self,
        settings: Settings,
        executor: Executor,
        ending: threading.Event,
        *,
        heartbeat: Path | None = None,
    ) -> None:
        self._url = settings.database
        self._max_running_per_token = settings.max_running_jobs_per_token
        self._stores = Stores.open(settings)
        self._executor = executor
        self._ending = ending
        self._heartbeat = heartbeat
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"

    def run(self, *, once: bool = False, idle_seconds: float | None = None) -> None:
        """Until `ending` is set; with `once` until a job was worked on, with `idle_seconds` until
        there was none for so long.
        """
        with Presence(self._stores.workers, self.owner):
            self._take_jobs(once=once, idle_seconds=idle_seconds)
        self._stores.database.close()

    def _take_jobs(self, *, once: bool, idle_seconds: float | None) -> None:
        idle_since = time.monotonic()
        while not self._ending.is_set():
            self._beat()
            try:
                has_worked = self.work_once()
            except Unavailable as error:
                logger.warning("%s; asking again in %g s", error, _AWAY_SECONDS)
                self._ending.wait(_AWAY_SECONDS)
                continue
            if has_worked:
                if once:
                    break
                idle_since = time.monotonic()
            elif idle_seconds is not None and time.monotonic() - idle_since >= idle_seconds:
                logger.info("no job waits: this worker ends")
                break
            else:
                self._ending.wait(_IDLE_SECONDS)

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
        with (
            logs.about(job=job.id),
            Claim(self._stores.jobs, job, self.owner, self._ending, self._beat) as claim,
        ):
            logger.info("claimed")
            self._work(job, claim)
        return True

    def _beat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.touch()

    def _work(self, job: Job, claim: Claim) -> None:
        try:
            claim.check()
            run_job(Run(job, claim, self._stores, self._executor), self._url)
        except ShuttingDown:
            self._stores.jobs.release(job.id, self.owner)
            logger.info("given back")
        except LeaseLost:
            logger.warning("lost to another worker")
        except (CancelAsked, PauseAsked):
            self._give_in(job)
        except OutOfTime as stop:
            self._end(job, JobStatus.FAILED, error=problem(JobFailed(str(stop))))
        except Unavailable as error:
            logger.warning("left for now, as %s", error)
            self._stores.jobs.release(job.id, self.owner)
        except (SearchError, ModelError, FilesError) as error:
            self._end(job, JobStatus.FAILED, error=problem(error))
        except Exception as error:  # the border of the job: it fails, the worker lives on
            logger.exception("unexpected failure")
            self._end(job, JobStatus.FAILED, error=problem(error))
        else:
            self._succeed(job)

    def _succeed(self, job: Job) -> None:
        try:
            is_done = self._stores.jobs.succeed(job.id, owner=self.owner)
        except StorageError:
            logger.exception("it could not succeed")
            return
        if is_done:
            logger.info("succeeded")
        else:
            logger.info("given back, as a student was asked for")

    def _give_in(self, job: Job) -> None:
        try:
            status = self._stores.jobs.give_in(job.id, owner=self.owner).status
        except StorageError:
            logger.exception("it could not be stopped")
            return
        logger.info("%s", status)

    def _end(self, job: Job, status: JobStatus, *, error: dict[str, object] | None = None) -> None:
        try:
            self._stores.jobs.transition(job.id, status, owner=self.owner, error=error)
        except StorageError:
            logger.exception("it could not become %s", status)
            return
        logger.info("%s%s", status, f": {error['detail']}" if error else "")


def problem(error: Exception) -> dict[str, object]:
    """The error as the API shows it (RFC 9457)."""
    if isinstance(error, InvalidSpec):
        return {
            "type": "/problems/invalid-request",
            "title": "The job cannot work as specified",
            "detail": str(error),
            "errors": [{"field": error.field, "message": error.message}],
        }
    if isinstance(error, (SearchError, ModelError, FilesError)):
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


def visible_devices(device: str, visible: str | None) -> str:
    """CUDA_VISIBLE_DEVICES for a worker that shall use that device, of those `visible` so far.

    Raises ValueError where there is no such device among them.
    """
    if device == "cpu":
        return ""
    number = int(device.removeprefix("cuda:"))
    if visible is None:
        return str(number)
    there = visible.split(",") if visible else []
    if number >= len(there):
        raise ValueError(
            f"{device}: CUDA_VISIBLE_DEVICES is {visible!r}, which has {len(there)} devices; "
            "count from cuda:0 among them"
        )
    return there[number]


def _device(text: str) -> str:
    if text != "cpu" and not re.fullmatch(r"cuda:\d+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no device; give cpu or cuda:<number>")
    return text


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="pareconv worker")
    parser.add_argument("--once", action="store_true", help="end after one job")
    parser.add_argument("--idle-exit", type=float, help="end when no job came for so many seconds")
    parser.add_argument("--device", type=_device, help="cpu or cuda:<number>, for device `auto`")
    parser.add_argument("--heartbeat", type=Path, help="file to touch while all is well")
    return parser.parse_args()


def main() -> None:
    options = _options()
    settings = Settings()
    logs.set_up(settings.log_format, settings.log_level)
    if options.device is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        try:
            os.environ["CUDA_VISIBLE_DEVICES"] = visible_devices(options.device, visible)
        except ValueError as error:
            raise SystemExit(str(error)) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    _end_with_parent(ending)
    try:
        with chosen(ExecutorSettings(), settings) as executor:
            worker = Worker(settings, executor, ending, heartbeat=options.heartbeat)
            worker.run(once=options.once, idle_seconds=options.idle_exit)
    except NoExecutor as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
