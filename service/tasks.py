"""The tasks that need torch: asked of a child process, one at a time, with limits. No HTTP."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from pareconv.search.spec import JobSpec
from pareconv.service.errors import Busy
from pareconv.storage.access import Access
from pareconv.storage.uploads import Kind

MEMORY_BYTES = 6 * 1024**3

_SECONDS = {
    "catalog": 180.0,
    "inspect": 300.0,
    "bundle": 600.0,
    "check_teacher": 300.0,
    "check_dataset": 600.0,
}
_MAX_WAITING = 8

_CHECKS: dict[Kind, str] = {"teacher": "check_teacher", "dataset": "check_dataset"}

Result = dict[str, Any]


class Runner(Protocol):
    """What runs a task: `pareconv.search.executors.child.Child`."""

    def call(
        self,
        task: str,
        payload: Mapping[str, Any],
        *,
        timeout_seconds: float | None = None,
        on_event: Callable[[Result], None] | None = None,
    ) -> Result: ...

    def failure(self) -> str | None: ...

    def close(self) -> None: ...


class Tasks:
    """The tasks by name. Each raises what the task refused, TaskDied, TaskTimeout or Busy."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._seats = threading.BoundedSemaphore(_MAX_WAITING)
        self._turn = threading.Lock()
        self._catalog: Result | None = None

    def catalog(self) -> Result:
        """Architectures, operators and methods; asked once, then remembered."""
        if self._catalog is None:
            self._catalog = self._call("catalog", {})
        return self._catalog

    def inspect(self, spec: JobSpec, access: Access) -> Result:
        """What a job with this spec would find; InvalidSpec when it cannot work, or names what
        `access` does not see.
        """
        return self._call("inspect", {"spec": spec.to_json(), "access": access.to_json()})

    def bundle(self, spec: JobSpec, access: Access, path: Path) -> Result:
        """Write what has to be timed for a job with this spec to `path`; how many `parts`."""
        asked = {"spec": spec.to_json(), "access": access.to_json(), "path": str(path)}
        return self._call("bundle", asked)

    def check(self, kind: Kind, path: Path) -> Result:
        """What is in an uploaded file."""
        return self._call(_CHECKS[kind], {"path": str(path)})

    def failure(self) -> str | None:
        """Why no task could run now; None when one could."""
        return self._runner.failure()

    def close(self) -> None:
        self._runner.close()

    def _call(self, task: str, payload: Mapping[str, Any]) -> Result:
        with self._seated():
            return self._runner.call(task, payload, timeout_seconds=_SECONDS[task])

    @contextmanager
    def _seated(self) -> Iterator[None]:
        # Who waits holds a thread that serves requests: they must not all end up here.
        if not self._seats.acquire(blocking=False):
            raise Busy(f"{_MAX_WAITING} checks wait for their turn already; try again later")
        try:
            with self._turn:
                yield
        finally:
            self._seats.release()
