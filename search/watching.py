"""Watching a run in this process: a bar in the terminal or the notebook."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from pareconv.search.run import Run
from pareconv.storage.events import Level


class Bar:
    """How far a job is, the best accuracy of a trial so far, and what was last told of it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("profile", total=1.0, best="", told="")
        self._best = 0.0

    def advance(self, stage: str, done: float) -> None:
        """`done` is from 0 to 1, of the whole job."""
        self._progress.update(self._task, description=stage, completed=done)

    def tell(self, message: str, accuracy: float | None) -> None:
        if accuracy is not None:
            self._best = max(self._best, accuracy)
            self._progress.update(self._task, best=f"best {self._best:.1%}")
        self._progress.update(self._task, told=message)


@contextmanager
def bar(*, is_shown: bool) -> Iterator[Bar]:
    """Drawn while entered, to stderr or below the notebook's cell, if it is to be shown."""
    columns = (
        TextColumn("{task.description:8}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[best]}"),
        TextColumn("{task.fields[told]}", style="dim"),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not is_shown) as progress:
        yield Bar(progress)


@dataclass(frozen=True)
class Watched(Run):
    """A run that shows on a bar what it writes."""

    bar: Bar

    def update(self, **values: Any) -> None:
        super().update(**values)
        if "stage" in values:
            self.bar.advance(values["stage"], values["progress"])

    def report(
        self, type: str, message: str, *, level: Level = "info", data: dict[str, Any] | None = None
    ) -> None:
        super().report(type, message, level=level, data=data)
        self.bar.tell(message, (data or {}).get("accuracy") if type == "trial" else None)
