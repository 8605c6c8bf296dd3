"""What became of a task, as it crosses the border of its process. Knows no torch."""

import logging
from collections.abc import Callable
from typing import Any

from pareconv.models import errors as model_errors
from pareconv.models.errors import ModelError
from pareconv.search import errors as search_errors
from pareconv.search.errors import SearchError, TaskFailed
from pareconv.storage import errors as storage_errors
from pareconv.storage.errors import FilesError, Unavailable

logger = logging.getLogger(__name__)

Message = dict[str, Any]
Task = Callable[[Message, Callable[[Message], None]], Message]

# What a task may raise and its caller gets as it is: the others are no business of a job's.
_OURS = (ModelError, SearchError, FilesError, Unavailable)

# The module whose TASKS are served unless another is named.
TASKS_MODULE = "pareconv.search.tasks"


def outcome_of(task: Task, payload: Message, emit: Callable[[Message], None]) -> Message:
    """Run the task: its `result`, or the `error` that it raised."""
    try:
        return {"result": task(payload, emit)}
    except _OURS as error:
        return {"error": {"class": type(error).__name__, "args": list(error.args)}}
    except (MemoryError, RuntimeError) as error:
        name = "OutOfMemory" if _is_out_of_memory(error) else type(error).__name__
        logger.exception("task failed")
        return {"error": {"class": name, "args": [str(error)]}}
    except Exception as error:  # the border of the process: the caller gets it as a failure
        logger.exception("task failed")
        return {"error": {"class": type(error).__name__, "args": [str(error)]}}


def result_of(outcome: Message) -> Message:
    """The result; raises the task's own error, or TaskFailed where it is of no class of ours."""
    if "error" in outcome:
        raise _rebuilt(outcome["error"])
    result: Message = outcome["result"]
    return result


def _is_out_of_memory(error: Exception) -> bool:
    """Torch has no class of its own for it on the CPU."""
    return isinstance(error, MemoryError) or any(
        words in str(error) for words in ("can't allocate memory", "out of memory")
    )


def _rebuilt(error: Message) -> Exception:
    for tree in (search_errors, model_errors, storage_errors):
        known = getattr(tree, error["class"], None)
        if isinstance(known, type) and issubclass(known, _OURS):
            return known(*error["args"])
    # Torch says more in further paragraphs, which are for who reads the log.
    told, *_ = " ".join(map(str, error["args"])).split("\n\n")
    return TaskFailed(f"{error['class']}: {told}")
