"""A child process that runs tasks: JSON in, JSON out, killable.

Knows no torch; the service uses it too.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Self

from pareconv.search.errors import TaskDied, TaskTimeout
from pareconv.search.executors.outcome import TASKS_MODULE, Message, result_of
from pareconv.storage import logs

MEMORY_VARIABLE = "PARECONV_TASK_MEMORY_BYTES"
_SERVER = "pareconv.search.executors.task_server"
_POLL_SECONDS = 0.5

# Of glibc, which otherwise gives the activations of a training step back to the system, to fault
# them in again at the next one (docs/performance.md).
ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**25)}


class Child:
    """One process of `task_server`, started by `start` or the first call and then kept warm.

    Calls are served one at a time, from whichever thread. A process that dies, or that outlives a
    time limit and is killed, costs that one call: the next starts a fresh one. Beyond
    `memory_bytes` of data an allocation fails inside the task. `tasks` is the module of the TASKS
    that it can be asked for.
    """

    slots = 1

    def __init__(
        self,
        *,
        memory_bytes: int | None = None,
        environment: Mapping[str, str] | None = None,
        tasks: str = TASKS_MODULE,
    ) -> None:
        self._tasks = tasks
        self._environment = dict(environment or {})
        if memory_bytes is not None:
            self._environment[MEMORY_VARIABLE] = str(memory_bytes)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the process before a call has to wait for it: loading torch takes seconds."""
        with self._lock:
            if self._process is None:
                self._start()

    def call(
        self,
        task: str,
        payload: Mapping[str, Any],
        *,
        timeout_seconds: float | None = None,
        on_event: Callable[[Message], None] | None = None,
        poll: Callable[[], None] | None = None,
    ) -> Message:
        """Run `task` and return its result.

        `on_event` gets what the task reports on its way; `poll` is called at least twice a second.
        What one of them raises stops the task by killing its process. Raises the task's own error
        (InvalidSpec, JobFailed, a ModelError, ...), TaskDied or TaskTimeout.
        """
        with self._lock:
            deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
            self._send({"task": task, "payload": payload, "about": logs.subject()})
            try:
                while "event" in (message := self._receive(task, deadline, poll)):
                    if on_event is not None:
                        on_event(message["event"])
            except BaseException:
                self._kill()  # else its answer would be taken for that of the next task
                raise
            return result_of(message)

    def failure(self) -> str | None:
        """Why no task could run now, if so. A process that died while idle is started again."""
        if not self._lock.acquire(blocking=False):
            return None  # one runs
        try:
            is_dead = self._process is not None and self._process.poll() is not None
            died = f"its process {self._last_words()}; another is started" if is_dead else None
            if self._process is None:
                self._start()
        except OSError as error:
            return f"its process could not be started: {error}"
        finally:
            self._lock.release()
        return died

    def close(self) -> None:
        """Kill the process, if there is one; a call in flight gets TaskDied."""
        self._kill()

    def _send(self, message: Message) -> None:
        for attempt in ("warm", "fresh"):
            process = self._process or self._start()
            assert process.stdin is not None
            try:
                process.stdin.write(json.dumps(message) + "\n")
                process.stdin.flush()
            except OSError as error:  # it died while idle
                self._kill()
                if attempt == "fresh":
                    raise TaskDied(f"the task's process could not be started: {error}") from error
            else:
                return

    def _start(self) -> "subprocess.Popen[str]":
        self._messages = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", _SERVER, self._tasks],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ALLOCATOR | os.environ | self._environment,
            start_new_session=True,
        )
        threading.Thread(target=_forward, args=(self._process, self._messages), daemon=True).start()
        return self._process

    def _receive(
        self, task: str, deadline: float | None, poll: Callable[[], None] | None
    ) -> Message:
        while True:
            if poll is not None:
                poll()
            if deadline is not None and time.monotonic() > deadline:
                raise TaskTimeout(f"{task} ran past its time limit and was stopped")
            with suppress(queue.Empty):
                message = self._messages.get(timeout=_POLL_SECONDS)
                if message is None:
                    raise TaskDied(f"{task}: its process {self._last_words()}")
                return message

    def _last_words(self) -> str:
        process = self._process
        self._kill()
        code = process.returncode if process is not None else None
        if code is not None and code < 0:
            cause = " (out of memory, most likely)" if -code == signal.SIGKILL else ""
            return f"was killed by {signal.Signals(-code).name}{cause}"
        return f"ended with exit code {code}"

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):  # the group is gone already
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):  # unsent input of a dead process
                    pipe.close()


def _forward(
    process: "subprocess.Popen[str]", messages: "queue.SimpleQueue[Message | None]"
) -> None:
    """Lines of the process into the queue; None at its end."""
    assert process.stdout is not None
    # A kill may cut a line short, or close the pipe under the reader.
    with suppress(ValueError, OSError):
        for line in process.stdout:
            messages.put(json.loads(line))
    messages.put(None)
