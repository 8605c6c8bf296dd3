"""Tasks that need no network: for tests of what runs tasks."""

import os
import signal
import time
from pathlib import Path

from pareconv.search.errors import Diverged


def echo(payload, emit):
    for number in range(payload.get("events", 0)):
        emit({"type": "progress", "done": number})
    names = payload.get("variables", ())
    return {"pid": os.getpid(), "variables": {name: os.environ.get(name) for name in names}}


def sleep(payload, emit):
    emit({"type": "began", "pid": os.getpid()})
    time.sleep(payload["seconds"])
    return {"pid": os.getpid()}


def die(payload, emit):
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(payload, emit):
    """The first time that it is asked with this path."""
    path = Path(payload["path"])
    if not path.exists():
        path.touch()
        die(payload, emit)
    return {}


def diverge(payload, emit):
    raise Diverged("nan", 7.0)


def stumble(payload, emit):
    raise ZeroDivisionError("by zero\n\nWhile executing %division")


TASKS = {task.__name__: task for task in (echo, sleep, die, die_once, diverge, stumble)}
