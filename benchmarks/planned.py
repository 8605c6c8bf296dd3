"""Plans that a benchmark tries one by one, each in a row of its own."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.record import Record
from pareconv.models.plan import Plan
from pareconv.search.run import Profiled

Row = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """A plan to be tried for a job that was done in `home`: what tells its row from others, its
    blocks' weights in the library, and what is `known` without a trial.
    """

    key: Row
    plan: Plan
    weights: dict[str, str]
    known: Row
    profiled: Profiled
    home: Path


def try_all(
    tasks: Sequence[Task],
    measured: Callable[[Task], Row],
    record: Record,
    pool: ProcessPoolExecutor,
) -> None:
    """Record a row of each that has none yet, as they come."""
    waiting = [task for task in tasks if not record.has(**task.key, plan=task.plan.to_json())]
    for future in as_completed([pool.submit(_row, task, measured) for task in waiting]):
        record.add(row := future.result())
        print(row, flush=True)


def _row(task: Task, measured: Callable[[Task], Row]) -> Row:
    return {**task.key, "plan": task.plan.to_json(), **task.known, **measured(task)}
