"""The process behind `Child`: reads tasks as JSON lines on stdin, answers on what was stdout.

Started as `python -m pareconv.search.executors.task_server`. Whatever a library prints goes to
stderr.
"""

import json
import logging
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

from pareconv.models.errors import ModelError
from pareconv.search.errors import SearchError
from pareconv.search.executors.child import MEMORY_VARIABLE
from pareconv.storage import logs
from pareconv.storage.errors import FilesError
from pareconv.storage.settings import Settings

logger = logging.getLogger("pareconv.search.executors.task_server")  # it is run as a script


def main() -> None:
    settings = Settings()
    logs.set_up(settings.log_format, settings.log_level)
    _limit_memory()
    _end_with_parent()
    answers = _claim_stdout()

    from pareconv.search.tasks import TASKS  # after the limit: this loads torch

    for line in sys.stdin:
        request = json.loads(line)
        with logs.about(**request["about"]):
            _answer(answers, _run(TASKS[request["task"]], request["payload"], answers))


def _run(
    task: Callable[..., dict[str, Any]], payload: dict[str, Any], answers: TextIO
) -> dict[str, Any]:
    try:
        return {"result": task(payload, lambda event: _answer(answers, {"event": event}))}
    except (ModelError, SearchError, FilesError) as error:
        return {"error": {"class": type(error).__name__, "args": list(error.args)}}
    except (MemoryError, RuntimeError) as error:
        name = "OutOfMemory" if _is_out_of_memory(error) else type(error).__name__
        logger.exception("task failed")
        return {"error": {"class": name, "args": [str(error)]}}
    except Exception as error:  # the border of the process: the caller gets it as a failure
        logger.exception("task failed")
        return {"error": {"class": type(error).__name__, "args": [str(error)]}}


def _is_out_of_memory(error: Exception) -> bool:
    """Torch has no class of its own for it on the CPU."""
    return isinstance(error, MemoryError) or any(
        words in str(error) for words in ("can't allocate memory", "out of memory")
    )


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
