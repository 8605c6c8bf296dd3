"""The supervisor: keeps worker processes running, and lets none outlive the server. No HTTP.

A worker is told to end by SIGTERM and has some seconds to give its job back. Should the server be
killed without a word, each worker sees that the process in PARECONV_PARENT_PID is gone.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

logger = logging.getLogger(__name__)

WORKER = (sys.executable, "-P", "-m", "pareconv.search.worker")

_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How soon a worker that ended is started again, and how long a stopping one may take."""

    first_seconds: float = 0.5  # doubled with every short life
    slow_seconds: float = 60.0  # a life that is shorter counts as short
    short_lives: int = 5  # so many in a row, and it is tried only every `slow_seconds`
    stop_seconds: float = 15.0

    def wait_seconds(self, short_lives: int) -> float:
        if short_lives >= self.short_lives:
            return self.slow_seconds
        doubled: float = self.first_seconds * 2 ** (short_lives - 1)
        return min(doubled, self.slow_seconds)


class Worker:
    """One process, started again when it ends."""

    def __init__(
        self,
        number: int,
        command: Sequence[str],
        *,
        environment: dict[str, str],
        patience: Patience,
    ) -> None:
        self._number = number
        self._command = command
        self._environment = environment
        self._patience = patience
        self._short_lives = 0
        self._starts_at = 0.0
        self._started_at = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def tend(self) -> None:
        """Start the process when it is time, or note its death."""
        now = time.monotonic()
        if self._process is None:
            if now >= self._starts_at:
                self._start()
        elif self._process.poll() is not None:
            self._mourn(self._process.returncode, now)

    def ask_to_stop(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def wait_or_kill(self, deadline: float) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            logger.warning("worker %d did not stop in time and is killed", self._number)
        self._kill_group(self._process)
        self._process = None

    def _start(self) -> None:
        # A group of its own: Ctrl-C in a terminal is for the server, which then stops its workers.
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdin=subprocess.DEVNULL, start_new_session=True
        )
        self._started_at = time.monotonic()
        logger.info("worker %d runs as process %d", self._number, self._process.pid)

    def _mourn(self, code: int, now: float) -> None:
        assert self._process is not None
        self._kill_group(self._process)
        self._process = None
        has_lived_long = now - self._started_at > self._patience.slow_seconds
        self._short_lives = 1 if has_lived_long else self._short_lives + 1
        wait_seconds = self._patience.wait_seconds(self._short_lives)
        self._starts_at = now + wait_seconds
        logger.log(
            logging.ERROR if self._short_lives >= self._patience.short_lives else logging.WARNING,
            "worker %d ended with code %d; it is started again in %.1f s",
            self._number,
            code,
            wait_seconds,
        )

    def _kill_group(self, process: "subprocess.Popen[bytes]") -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Supervisor:
    """So many workers. `environment` is added to the server's own."""

    def __init__(
        self,
        count: int,
        environment: Mapping[str, str],
        *,
        command: Sequence[str] = WORKER,
        patience: Patience | None = None,
    ) -> None:
        self._patience = patience or Patience()
        variables = os.environ | dict(environment) | {"PARECONV_PARENT_PID": str(os.getpid())}
        self._workers = [
            Worker(number, command, environment=variables, patience=self._patience)
            for number in range(1, count + 1)
        ]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        return [worker.pid for worker in self._workers if worker.pid is not None]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End every worker: SIGTERM, then, when its time is over, SIGKILL to its whole group."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        deadline = time.monotonic() + self._patience.stop_seconds
        for worker in self._workers:
            worker.ask_to_stop()
        for worker in self._workers:
            worker.wait_or_kill(deadline)

    def _watch(self) -> None:
        while not self._stopping.is_set():
            for worker in self._workers:
                self._tend(worker)
            self._stopping.wait(_POLL_SECONDS)

    def _tend(self, worker: Worker) -> None:
        try:
            worker.tend()
        except OSError:  # no process can be started now; perhaps later
            logger.exception("a worker could not be started")
