"""Where the time of a library and of a trial goes, and how far both are from their floor:
`python -m benchmarks.speed`.

The floor of a part is the FLOPs that it counts as its compute, at the rate at which the teacher's
own forward pass does them.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import jobs
from benchmarks.record import Record
from benchmarks.setting import require_data, spec
from pareconv.models.cost_table import CostTable
from pareconv.models.plan import KEEP
from pareconv.search import library as library_module
from pareconv.search import trial as trial_module
from pareconv.search.answers import Answers, Listener
from pareconv.search.data.views import Views
from pareconv.search.library import LibraryBuilder
from pareconv.search.trial import Trial, run_trial
from pareconv.search.wanted import Wanted
from pareconv.search.workbench import Workbench
from pareconv.storage.files import FileStore

Row = dict[str, Any]

_IMAGES = 8000  # of a trial
_BUDGET = 0.3
_ANSWERS = "the teacher's answers"


@dataclass
class Clock:
    """Seconds by part. A part within another counts for itself alone."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _running: list[str] = field(default_factory=list)
    _since: float = 0.0

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        if part in self._running or _ANSWERS in self._running:
            yield  # what the teacher takes for its answers is not told apart
            return
        self._switch()
        self._running.append(part)
        try:
            yield
        finally:
            self._switch()
            self._running.pop()

    def wrapped(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.of(part):
                found = call(*args, **kwargs)
                return iter(list(found)) if isinstance(found, Iterator) else found

        return timed

    def _switch(self) -> None:
        now = time.perf_counter()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--home", type=Path, default=Path("build/bench-speed"))
    arguments = parser.parse_args()
    require_data()
    torch.set_num_threads(arguments.threads)
    record = Record("speed", ("what", "threads"))
    for row in _rows(arguments.home):
        record.add(row | {"threads": arguments.threads})
    Console().print(table(record.rows))


def table(rows: list[Row]) -> Table:
    """Seconds and share of every part, and the floor of the whole."""
    shown = Table("what", "threads", "part", "seconds", "share")
    for row in rows:
        whole = sum(row["parts"].values())
        name, threads = row["what"], str(row["threads"])
        for part, seconds in sorted(row["parts"].items(), key=lambda item: -item[1]):
            shown.add_row(name, threads, part, f"{seconds:.1f}", f"{seconds / whole:.0%}")
            name = threads = ""
        shown.add_row("", "", "all", f"{whole:.1f}", "")
        shown.add_row("", "", "floor", f"{row['floor']:.1f}", f"{row['floor'] / whole:.0%}")
    shown.caption = "the floor is the counted compute at the rate of the teacher's forward pass"
    return shown


def _rows(home: Path) -> Iterator[Row]:
    """A library with two rungs on ResNet-20, and a trial of its best plan within the budget."""
    asked = spec(
        _BUDGET,
        0,
        search={"granularity": "conv", "trials": 1, "repeats": 0, "stop_early": False},
        distill={"epochs": _IMAGES / 49_000},
        finish={"finalists": 0},
    )
    done = jobs.run(home, asked)
    bench = done.bench
    pace, plan = _pace(bench), jobs.plan_of(done.best)
    trial = Trial(plan, done.prepared.weights(plan))
    for row in (
        _library(bench, done.prepared.table, done.files),
        _trial(jobs.unasked(bench), trial, done.files),
    ):
        yield row | {"pace": pace, "floor": row["compute"] / pace}


def _pace(bench: Workbench) -> float:
    """Images a second through the teacher as training asks it."""
    images, _ = bench.views[torch.arange(64)]
    listener = Listener(bench.teacher, ())
    with torch.no_grad():
        for _ in range(10):
            listener(images)
        started = time.perf_counter()
        for _ in range(50):
            listener(images)
    return 50 * 64 / (time.perf_counter() - started)


def _library(bench: Workbench, table: CostTable, files: FileStore) -> Row:
    clock, compute = Clock(), 0.0

    def emit(event: dict[str, Any]) -> None:
        nonlocal compute
        compute += event.get("compute", 0.0)

    wanted = [
        Wanted(block, str(option))
        for block, options in table.changes.items()
        for option in options
        if option != KEEP
    ]
    parts = {
        "apprentices": "closed forms",
        "teach": "block-wise training",
        "measure_losses": "losses",
        "measure_scores": "scores",
        "save_weights": "saving",
    }
    with ExitStack() as stack:
        for name, part in parts.items():
            timed = clock.wrapped(part, getattr(library_module, name))
            stack.enter_context(patch.object(library_module, name, timed))
        with clock.of("the rest"):
            LibraryBuilder(bench, table, files, emit).build(wanted)
    return {
        "what": f"library, {len(wanted)} options",
        "parts": dict(clock.seconds),
        "compute": compute,
    }


def _trial(bench: Workbench, trial: Trial, files: FileStore) -> Row:
    clock = Clock()
    methods = [
        (Views, "__getitem__", "views"),
        (Answers, "__call__", _ANSWERS),
        (Listener, "__call__", "forward"),
        (torch.Tensor, "backward", "backward"),
        (torch.optim.SGD, "step", "steps"),
        (torch.optim.Muon, "step", "steps"),
    ]
    with ExitStack() as stack:
        for owner, name, part in methods:
            timed = clock.wrapped(part, getattr(owner, name))
            stack.enter_context(patch.object(owner, name, _method(timed)))
        for name, part in (("assemble", "assembling"), ("evaluate", "validation")):
            timed = clock.wrapped(part, getattr(trial_module, name))
            stack.enter_context(patch.object(trial_module, name, timed))
        with clock.of("the rest"):
            found = run_trial(bench, trial, files)
    return {
        "what": f"trial of {found['images']:,} images at {_BUDGET:.0%} of the FLOPs",
        "parts": dict(clock.seconds),
        "compute": found["compute"],
    }


def _method(timed: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *args, **kwargs: timed(self, *args, **kwargs)


if __name__ == "__main__":
    main()
