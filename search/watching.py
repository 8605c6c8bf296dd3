"""Watching a run in this process: a bar in a terminal or a notebook, line by line elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from pareconv.search.run import Run
from pareconv.storage.events import Level

_QUIET_SECONDS = 20.0


class Shown(Protocol):
    """What is told how far a job is. `done` is from 0 to 1, of the whole job; `accuracy` is that of
    a trial.
    """

    def advance(self, stage: str, done: float) -> None: ...

    def tell(self, message: str, accuracy: float | None) -> None: ...


class Bar:
    """The stage, the share done, the best accuracy of a trial, and what was told last."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("profile", total=1.0, best="", told="")
        self._best = 0.0

    def advance(self, stage: str, done: float) -> None:
        self._progress.update(self._task, description=stage, completed=done)

    def tell(self, message: str, accuracy: float | None) -> None:
        self._best = max(self._best, accuracy or 0.0)
        best = f"best {self._best:.1%}" if self._best else ""
        self._progress.update(self._task, best=best, told=message)


class Lines:
    """The same as lines of text, one for each thing that is told, and how far the job is where
    nothing is for a while.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._done = self._best = 0.0
        self._told = time.monotonic()

    def advance(self, stage: str, done: float) -> None:
        self._done = done
        if time.monotonic() - self._told >= _QUIET_SECONDS:
            self._write(f"at work on its stage {stage}")

    def tell(self, message: str, accuracy: float | None) -> None:
        self._best = max(self._best, accuracy or 0.0)
        best = f"; best {self._best:.1%}" if accuracy is not None else ""
        self._write(f"{message}{best}")

    def _write(self, text: str) -> None:
        line = f"{self._done:4.0%} {text}"
        self._console.print(line, soft_wrap=True, markup=False, highlight=False)
        self._told = time.monotonic()


@contextmanager
def showing(*, is_shown: bool) -> Iterator[Shown]:
    """Drawn while entered, to stderr or below the notebook's cell, if it is to be shown."""
    console = Console(stderr=True)
    # Of a notebook rich draws a bar with ipywidgets alone.
    is_drawn = find_spec("ipywidgets") is not None if console.is_jupyter else console.is_terminal
    if is_shown and not is_drawn:
        yield Lines(Console(stderr=True, force_jupyter=False))
        return
    columns = (
        TextColumn("{task.description:8}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[best]}"),
        TextColumn("{task.fields[told]}", style="dim", markup=False),
    )
    with Progress(*columns, console=console, disable=not is_shown) as progress:
        yield Bar(progress)


@dataclass(frozen=True)
class Watched(Run):
    """A run that shows what it writes."""

    shown: Shown

    def update(self, **values: Any) -> None:
        super().update(**values)
        if "stage" in values:
            self.shown.advance(values["stage"], values["progress"])

    def report(
        self, type: str, message: str, *, level: Level = "info", data: dict[str, Any] | None = None
    ) -> None:
        super().report(type, message, level=level, data=data)
        self.shown.tell(message, (data or {}).get("accuracy") if type == "trial" else None)
