"""Who makes the best student of a budget for the same compute: `python -m benchmarks.search`.

Rows are written as they come, and what is there already is not done again.
"""

import argparse
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.contenders import Task, compete
from benchmarks.pool import single_threaded
from benchmarks.record import Record
from benchmarks.setting import require_data

METHODS = (
    "pareconv",
    "uniform_given",
    "uniform",
    "torch_pruning",
    "model_optimizer",
    "optuna",
    "random",
)
BUDGETS = (0.5, 0.3, 0.15)
_COMPUTE = 150_000
KEYS = ("method", "flops_ratio_budget", "seed", "compute_allowed")

Row = dict[str, Any]


def main() -> None:
    arguments = _arguments()
    require_data()
    record = Record(arguments.name or _name(arguments.compute), KEYS)
    chains = _chains(arguments, record)
    with single_threaded(arguments.processes) as pool:
        running: dict[Future[Row], list[Row]] = {}

        def start(chain: list[Row]) -> None:
            if chain:
                running[pool.submit(_row, chain[0], arguments.home)] = chain[1:]

        for chain in chains:
            start(chain)
        while running:
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                row = future.result()
                record.add(row)
                shown = (*KEYS, "test_accuracy", "compute", "seconds")
                print(*(f"{key}={row[key]}" for key in shown), flush=True)
                start(running.pop(future))
    Console().print(table(record.rows))


def table(rows: list[Row]) -> Table:
    """Mean and spread of the test accuracy over the seeds, method by budget."""
    shown = Table("method", *(f"{budget:.0%} of the FLOPs" for budget in BUDGETS))
    for method in METHODS:
        shown.add_row(method, *(_cell(rows, method, budget) for budget in BUDGETS))
    teacher = {row["teacher_test_accuracy"] for row in rows}
    shown.caption = (
        "test accuracy in %, mean ± standard deviation over n seeds, at the share of the FLOPs "
        f"that was reached; teacher {_percent(teacher)}"
    )
    return shown


def lead(rows: list[Row]) -> Table:
    """How far Pareconv is ahead of each other method, on the seeds that both have."""
    shown = Table("ahead of", *(f"{budget:.0%} of the FLOPs" for budget in BUDGETS))
    for method in METHODS[1:]:
        shown.add_row(method, *(_lead(rows, method, budget) for budget in BUDGETS))
    shown.caption = (
        "points of test accuracy, mean of the differences on the same seed ± their standard "
        "deviation; one below about twice the standard deviation over the root of n is no lead"
    )
    return shown


def _lead(rows: list[Row], method: str, budget: float) -> str:
    ours, theirs = (
        {
            row["seed"]: 100 * row["test_accuracy"]
            for row in rows
            if row["method"] == each and row["flops_ratio_budget"] == budget
        }
        for each in ("pareconv", method)
    )
    found = [ours[seed] - theirs[seed] for seed in ours.keys() & theirs.keys()]
    if not found:
        return ""
    spread = f" ± {stdev(found):.2f}" if len(found) > 1 else ""
    return f"{fmean(found):+.2f}{spread} (n={len(found)})"


def _row(task: Row, home: Path) -> Row:
    folder = home / f"{task['method']}-{task['seed']}"
    return compete(Task(*(task[key] for key in KEYS), folder))


def _chains(arguments: argparse.Namespace, record: Record) -> list[list[Row]]:
    """The budgets of one method and seed follow one another: they share a library."""
    chains = [
        [
            {
                "method": method,
                "flops_ratio_budget": budget,
                "seed": seed,
                "compute_allowed": arguments.compute,
            }
            for budget in arguments.budgets
        ]
        for seed in arguments.seeds
        for method in arguments.methods
    ]
    return [[task for task in chain if not record.has(**task)] for chain in chains]


def _name(compute: float) -> str:
    """Rows that may spend more are another comparison."""
    return "search" if compute == _COMPUTE else f"search-{compute:.0f}"


def _cell(rows: list[Row], method: str, budget: float) -> str:
    mine = [row for row in rows if row["method"] == method and row["flops_ratio_budget"] == budget]
    if not mine:
        return ""
    found = [100 * row["test_accuracy"] for row in mine]
    spread = f" ± {stdev(found):.2f}" if len(found) > 1 else ""
    share = fmean(row["flops_ratio"] for row in mine)
    return f"{fmean(found):.2f}{spread} at {share:.1%} (n={len(found)})"


def _percent(values: set[float]) -> str:
    return ", ".join(f"{100 * value:.2f}" for value in sorted(values))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--compute", type=float, default=_COMPUTE, help="teacher-forward equivalents"
    )
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--budgets", nargs="+", type=float, default=BUDGETS)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--home", type=Path, default=Path("build/bench-search"))
    parser.add_argument("--name", help="of the results file; by default it tells the compute")
    return parser.parse_args()


if __name__ == "__main__":
    main()
