"""Tasks on a Ray cluster, which places them, gives each its GPUs or parts of one, and kills them.

Wants the extra `ray`. What tasks need they find in the same places as everywhere: the database and
the content-addressed files must be such that every machine of the cluster reaches them.
"""

import importlib
import logging
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Self

from pareconv.search.errors import NoExecutor, TaskDied, TaskFailed, TaskTimeout
from pareconv.search.executors.outcome import TASKS_MODULE, Message, outcome_of, result_of
from pareconv.search.executors.settings import ExecutorSettings

_POLL_SECONDS = 0.5
_MODE, _TOKEN = "RAY_AUTH_MODE", "token"


def _served(
    tasks: str, task: str, payload: Message, environment: Mapping[str, str]
) -> Iterator[Message]:
    """A task in a process of the cluster: where it runs, its events as they come, its outcome."""
    yield {"started": os.getpid()}
    os.environ.update(environment)
    function = importlib.import_module(tasks).TASKS[task]
    messages: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def work() -> None:
        messages.put(outcome_of(function, payload, lambda event: messages.put({"event": event})))

    threading.Thread(target=work, daemon=True, name=task).start()
    while "event" in (message := messages.get()):
        yield message
    yield message


class Ray:
    """One Ray task for each call, never tried again by Ray: who calls does that.

    `environment` is that of the tasks; it travels as an argument, as it may hold a password. The
    cluster asks for a token (RAY_AUTH_MODE=token), which Ray reads from RAY_AUTH_TOKEN,
    RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token. Raises NoExecutor where there is no such cluster.
    """

    def __init__(
        self,
        settings: ExecutorSettings,
        environment: Mapping[str, str],
        *,
        tasks: str = TASKS_MODULE,
    ) -> None:
        self._ray = _connected(settings.ray_address)
        self._settings, self._tasks = settings, tasks
        self._environment = dict(environment)
        self._resources: dict[str, float] = self._ray.cluster_resources()
        self._lock = threading.Lock()
        self._functions: dict[float, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def slots(self) -> int:
        """As many as were asked for, or as the cluster had room for when it was connected to."""
        if self._settings.count is not None:
            return self._settings.count
        wanted = {"GPU": self._gpus({}), "CPU": self._settings.ray_cpus}
        rooms = [self._resources.get(name, 0) / each for name, each in wanted.items() if each]
        return max(1, math.floor(min(rooms, default=1)))

    def call(
        self,
        task: str,
        payload: Mapping[str, Any],
        *,
        timeout_seconds: float | None = None,
        on_event: Callable[[Message], None] | None = None,
        poll: Callable[[], None] | None = None,
    ) -> Message:
        """As `Child.call`, somewhere in the cluster; the time limit begins when it has a place."""
        remote = self._remote(self._gpus(payload)).remote
        stream = remote(self._tasks, task, dict(payload), self._environment)
        deadline = math.inf
        try:
            while True:
                if poll is not None:
                    poll()
                if time.monotonic() > deadline:
                    raise TaskTimeout(f"{task} ran past its time limit and was stopped")
                message = self._next(task, stream)
                if message is None:
                    continue
                if "started" in message:
                    deadline = time.monotonic() + (timeout_seconds or math.inf)
                elif "event" not in message:
                    break
                elif on_event is not None:
                    on_event(message["event"])
        except BaseException:
            # Only now: one that is about to end would lose its process, which is warm.
            with suppress(self._ray.exceptions.RayError):
                self._ray.cancel(stream, force=True)
            raise
        return result_of(message)

    def close(self) -> None:
        """Leave the cluster, which kills what we have there."""
        self._ray.shutdown()

    def _remote(self, gpus: float) -> Any:
        """A task on that many of the GPUs. Ray ends its process when it has used one, so that its
        memory is free again.
        """
        with self._lock:
            if gpus not in self._functions:
                cpus = self._settings.ray_cpus
                options = self._ray.remote(num_gpus=gpus, num_cpus=cpus, max_retries=0)
                self._functions[gpus] = options(_served)
            return self._functions[gpus]

    def _gpus(self, payload: Mapping[str, Any]) -> float:
        if payload.get("spec", {}).get("device") == "cpu":
            return 0
        if self._settings.ray_gpus != "auto":
            return self._settings.ray_gpus
        return 1 if self._resources.get("GPU", 0) else 0

    def _next(self, task: str, stream: Any) -> Message | None:
        """The next message; None where there is none yet."""
        errors = self._ray.exceptions
        ready, _ = self._ray.wait([stream], timeout=_POLL_SECONDS)
        if not ready:
            return None
        try:
            message: Message = self._ray.get(next(stream))
        except StopIteration as end:
            raise TaskDied(f"{task}: its process ended without a word") from end
        except errors.RayTaskError as error:  # before the task itself: its code is not there, say
            raise TaskFailed(f"{task}: {error.cause!r}") from error
        except errors.RayError as error:
            raise TaskDied(f"{task}: {str(error).splitlines()[0]}") from error
        return message


def _connected(address: str) -> Any:
    """The module `ray`, connected to that cluster."""
    if os.environ.setdefault(_MODE, _TOKEN).lower() != _TOKEN:
        raise NoExecutor(
            f"{_MODE}={os.environ[_MODE]}: whoever reaches such a cluster can run anything on it; "
            f"start the cluster and this process with {_MODE}=token"
        )
    try:
        import ray
    except ImportError as error:
        raise NoExecutor("Ray is not installed; `pip install 'pareconv[ray]'` does it") from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise NoExecutor(f"no Ray cluster at {address}: {error}") from error
    return ray
