"""What a finished library is worth to the next job: `python -m benchmarks.what_if`.

For each seed a job at 50 % of the FLOPs builds a library; a job at 30 % then finds it. Beside it
the same job at 30 % where there is no library yet. Of one seed and one library, both try the same
plans with the same result: what is asked is how soon a trial is as good as the best of all. Also
how long the service takes to predict a front at a budget that nobody has asked for.
"""

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import as_completed
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import jobs
from benchmarks.pool import single_threaded
from benchmarks.record import Record
from benchmarks.setting import require_data, spec
from pareconv.service.client import Client
from pareconv.service.demo import running_server
from pareconv.storage.candidate_states import CandidateState
from pareconv.storage.candidates import Candidate

Row = dict[str, Any]

_FIRST, _NEXT = 0.5, 0.3
_TRIALS = 16
_IMAGES = 2000
_BUDGETS = range(20, 60, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--home", type=Path, default=Path("build/bench-what-if"))
    arguments = parser.parse_args()
    require_data()
    record = Record("what_if", ("seed",))
    waiting = [seed for seed in arguments.seeds if not record.has(seed=seed)]
    with single_threaded(arguments.processes) as pool:
        for future in as_completed([pool.submit(_row, seed, arguments.home) for seed in waiting]):
            record.add(row := future.result())
            print(row, flush=True)
    for row in record.rows:  # now that nothing else runs
        if "front_seconds" not in row:
            record.add(row | {"front_seconds": _front_seconds(_used(arguments.home, row["seed"]))})
    Console().print(table(record.rows))


def table(rows: list[Row]) -> Table:
    """Accuracies before the finish, compute, and the time that a predicted front takes."""
    columns = ("seed", "accuracy", "compute", "reached for", "within noise for")
    shown = Table(*columns, "first front", "later, median", "longest")
    for row in rows:
        first, *later = row["front_seconds"]
        shown.add_row(
            str(row["seed"]),
            f"{row['accuracy']:.3f} ± {row['accuracy_stderr']:.3f}",
            f"{row['fresh_compute']:,.0f}",
            *(_share(row, key) for key in ("reached", "reached_within_noise")),
            f"{1000 * first:.0f} ms",
            f"{1000 * median(later):.0f} ms",
            f"{1000 * max(later):.0f} ms",
        )
    shown.caption = f"{_NEXT:.0%} of the FLOPs, validation accuracy before the finish"
    return shown


def _share(row: Row, key: str) -> str:
    reached = row[key]
    if reached is None:
        return "never"
    return f"{reached['compute'] / row['fresh_compute']:.1%} ({reached['trials']} trials)"


def _row(seed: int, home: Path) -> Row:
    fresh = jobs.run(home / f"fresh-{seed}", _spec(_NEXT, seed, _TRIALS))
    jobs.run(_used(home, seed), _spec(_FIRST, seed, 1))
    reused = jobs.run(_used(home, seed), _spec(_NEXT, seed, _TRIALS))
    best = fresh.best
    assert best.accuracy is not None
    assert best.accuracy_stderr is not None
    return {
        "seed": seed,
        "trials": _TRIALS,
        "accuracy": best.accuracy,
        "accuracy_stderr": best.accuracy_stderr,
        "fresh_compute": fresh.compute,
        "reached": _reached(reused.candidates, best.accuracy),
        "reached_within_noise": _reached(reused.candidates, best.accuracy - best.accuracy_stderr),
    }


def _reached(candidates: Sequence[Candidate], accuracy: float) -> Row | None:
    """What was spent until a trial was that good."""
    spent = 0.0
    for trials, each in enumerate(candidates, 1):
        spent += each.compute or 0.0
        if each.state is CandidateState.COMPLETE and (each.accuracy or 0.0) >= accuracy:
            return {"trials": trials, "compute": spent, "accuracy": each.accuracy}
    return None


def _spec(budget: float, seed: int, trials: int) -> dict[str, Any]:
    return spec(
        budget,
        seed,
        search={"granularity": "conv", "trials": trials, "repeats": 0},
        distill={"epochs": _IMAGES / 49_000},
        finish={"finalists": 0},
    )


def _used(home: Path, seed: int) -> Path:
    return home / f"used-{seed}"


def _front_seconds(home: Path) -> list[float]:
    """How long each predicted front takes a service that was started as its users start it."""
    with running_server(home, workers=0) as client:
        library = client.libraries.page().items[0].id
        return [_timed(client, library, budget) for budget in _BUDGETS]


def _timed(client: Client, library: str, budget: int) -> float:
    started = time.perf_counter()
    assert client.libraries.front(library, flops=f"{budget}%").points
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
