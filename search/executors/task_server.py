"""The process behind `Child`: reads tasks as JSON lines on stdin, answers on what was stdout.

Started as `python -m pareconv.search.executors.task_server <module of the tasks>`. Whatever a
library prints goes to stderr.
"""

import importlib
import json
import os
import resource
import sys
import threading
import time
from typing import Any, TextIO

from pareconv.search.executors.child import MEMORY_VARIABLE
from pareconv.search.executors.outcome import outcome_of
from pareconv.storage import logs
from pareconv.storage.settings import Settings


def main() -> None:
    settings = Settings()
    logs.set_up(settings.log_format, settings.log_level)
    _limit_memory()
    _end_with_parent()
    answers = _claim_stdout()

    tasks = importlib.import_module(sys.argv[1]).TASKS  # after the limit: this loads torch

    def emit(event: dict[str, Any]) -> None:
        _answer(answers, {"event": event})

    for line in sys.stdin:
        request = json.loads(line)
        with logs.about(**request["about"]):
            _answer(answers, outcome_of(tasks[request["task"]], request["payload"], emit))


def _answer(answers: TextIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _limit_memory() -> None:
    if limit := os.environ.get(MEMORY_VARIABLE):
        resource.setrlimit(resource.RLIMIT_DATA, (int(limit), int(limit)))


def _end_with_parent() -> None:
    """A parent killed in the middle of a task leaves no process behind."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _claim_stdout() -> TextIO:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


if __name__ == "__main__":
    main()
