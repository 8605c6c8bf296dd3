"""Flights: tasks of one run that are under way at the same time, one for each slot.

Threads wait for them, and do nothing else: what a task reports is heard, and what it results in is
given out, in the thread that asks. So it alone needs to write.
"""

import queue
import threading
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Self, TypeVar

from pareconv.search.run import Run

Key = TypeVar("Key")
Json = dict[str, Any]


class _Abandoned(Exception):
    """Nobody waits for the task any more."""


@dataclass(frozen=True)
class Landed(Generic[Key]):
    """A task that ended."""

    key: Key
    outcome: Json | BaseException

    def result(self) -> Json:
        """What it returned; raises what ended it instead."""
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


@dataclass(frozen=True)
class _Event(Generic[Key]):
    key: Key
    content: Json


class Flights(Generic[Key]):
    """At most `most` tasks at a time, known by their keys. Leaving it kills those in flight.

    Where there is room for one alone, it runs in the thread that asks, and what interrupts that
    thread interrupts it.
    """

    def __init__(self, run: Run, most: int | None = None) -> None:
        self._run = run
        self._most = min(run.executor.slots, most or run.executor.slots)
        self._calls: dict[Key, Callable[[], Json]] = {}
        self._listeners: dict[Key, Callable[[Json], None]] = {}
        self._threads: dict[Key, threading.Thread] = {}
        self._messages: queue.SimpleQueue[Landed[Key] | _Event[Key]] = queue.SimpleQueue()
        self._abandoned = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._abandoned.set()
        for thread in self._threads.values():
            thread.join()

    def __len__(self) -> int:
        """How many are in flight."""
        return len(self._calls)

    def __contains__(self, key: Key) -> bool:
        return key in self._calls

    @property
    def has_room(self) -> bool:
        return len(self) < self._most

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has landed, or has been reported, that waits to be heard."""
        return self._messages.empty()

    def start(
        self,
        key: Key,
        task: str,
        payload: Mapping[str, Any],
        *,
        on_event: Callable[[Json], None] | None = None,
        timeout_seconds: float | None = None,
    ) -> None:
        """Begin a task; its time limit is the executor's to keep."""
        # What is logged of it is about what it is begun for, in whichever thread it runs.
        within = copy_context().run
        limited = partial(self._run.executor.call, timeout_seconds=timeout_seconds)
        call = partial(within, limited, task, payload)
        if self._most == 1:
            self._calls[key] = partial(call, on_event=on_event, poll=self._poll)
            return
        if on_event is not None:
            self._listeners[key] = on_event
        heard = partial(self._hear, key)
        self._calls[key] = partial(call, on_event=heard, poll=self._poll)
        thread = threading.Thread(target=self._fly, args=(key,), daemon=True, name=f"{task}-{key}")
        self._threads[key] = thread
        thread.start()

    def land(self) -> Landed[Key]:
        """Wait for the next that ends, hearing what all of them report meanwhile."""
        if self._most == 1:
            key, call = self._calls.popitem()
            try:
                self._poll()
                return Landed(key, call())
            except Exception as error:
                return Landed(key, error)
        while isinstance(message := self._messages.get(), _Event):
            if (listener := self._listeners.get(message.key)) is not None:
                listener(message.content)
        del self._calls[message.key]
        self._listeners.pop(message.key, None)
        self._threads.pop(message.key).join()
        return message

    def _fly(self, key: Key) -> None:
        try:
            landed = Landed(key, self._calls[key]())
        except BaseException as error:
            landed = Landed(key, error)
        self._messages.put(landed)

    def _hear(self, key: Key, content: Json) -> None:
        self._messages.put(_Event(key, content))

    def _poll(self) -> None:
        if self._abandoned.is_set():
            raise _Abandoned
        self._run.claim.check()
