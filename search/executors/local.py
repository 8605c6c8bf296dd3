"""Tasks on this machine: one warm child process for each device slot."""

import queue
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from pareconv.search.executors.child import Child
from pareconv.search.executors.outcome import TASKS_MODULE, Message

_POLL_SECONDS = 0.5


class Local:
    """As many children as `environments`, each of which is added to its own child's.

    Calls from as many threads run side by side; one more waits until a child is free. A task that
    is given up, or is past its time limit, is killed with its process group.
    """

    def __init__(
        self,
        environments: Sequence[Mapping[str, str]],
        *,
        memory_bytes: int | None = None,
        tasks: str = TASKS_MODULE,
    ) -> None:
        self._children = [
            Child(memory_bytes=memory_bytes, environment=environment, tasks=tasks)
            for environment in environments
        ]
        # Last in, first out: who has worked before is warm.
        self._free: queue.LifoQueue[Child] = queue.LifoQueue()
        for child in reversed(self._children):
            self._free.put(child)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def slots(self) -> int:
        return len(self._children)

    def call(
        self,
        task: str,
        payload: Mapping[str, Any],
        *,
        timeout_seconds: float | None = None,
        on_event: Callable[[Message], None] | None = None,
        poll: Callable[[], None] | None = None,
    ) -> Message:
        """As `Child.call`, on whichever child is free; the time limit begins when it has one."""
        child = self._wait(poll)
        try:
            return child.call(
                task, payload, timeout_seconds=timeout_seconds, on_event=on_event, poll=poll
            )
        finally:
            self._free.put(child)

    def close(self) -> None:
        """Kill every process; a call in flight gets TaskDied."""
        for child in self._children:
            child.close()

    def _wait(self, poll: Callable[[], None] | None) -> Child:
        while True:
            if poll is not None:
                poll()
            try:
                return self._free.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
