"""Whether a network of adder layers learns, and whether `pkkd` helps it: `python -m
benchmarks.adder`.

A ResNet-8 whose convolutions but the stem are adder layers, from random weights, on scikit-learn's
digits; as AdderNet does, by SGD with one cosine from a rate of 0.1.
"""

import argparse
import time
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import jobs
from benchmarks.pool import single_threaded
from benchmarks.record import Record
from pareconv.models.blocks import find_blocks
from pareconv.models.cost import count
from pareconv.models.plan import Option, Plan
from pareconv.models.rewriting import rewrite
from pareconv.search.distillation.registry import METHODS
from pareconv.search.distillation.setting import Setting
from pareconv.search.evaluation import evaluate
from pareconv.search.training import Recipe, Training

Row = dict[str, Any]

_METHODS = "labels", "pkkd"
_EPOCHS = 5, 20
_SIDE = 16  # pixels
KEYS = ("method", "epochs", "seed")


@dataclass(frozen=True)
class Task:
    method: str
    epochs: int
    seed: int
    home: Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--home", type=Path, default=Path("build/bench-adder"))
    arguments = parser.parse_args()
    record = Record("adder", KEYS)
    tasks = [
        Task(method, epochs, seed, arguments.home)
        for seed in arguments.seeds
        for epochs in _EPOCHS
        for method in _METHODS
        if not record.has(method=method, epochs=epochs, seed=seed)
    ]
    with single_threaded(arguments.processes) as pool:
        for future in as_completed([pool.submit(_row, task) for task in tasks]):
            record.add(row := future.result())
            print(row, flush=True)
    Console().print(table(record.rows))


def table(rows: list[Row]) -> Table:
    """Test accuracy by method and length, and how long one of them took at most."""
    shown = Table("method", *(f"{epochs} epochs" for epochs in _EPOCHS), "longest")
    for method in _METHODS:
        mine = [row for row in rows if row["method"] == method]
        if mine:
            cells = (_cell([row for row in mine if row["epochs"] == each]) for each in _EPOCHS)
            shown.add_row(f"`{method}`", *cells, f"{max(row['seconds'] for row in mine):.0f} s")
    share = rows[0]["adds"] / (rows[0]["adds"] + rows[0]["flops"])
    shown.caption = (
        "test accuracy in %, mean ± standard deviation over n seeds; "
        f"{share:.0%} of what the network computes are additions of adder layers"
    )
    return shown


def _cell(rows: list[Row]) -> str:
    if not rows:
        return ""
    found = [100 * row["test_accuracy"] for row in rows]
    spread = f" ± {stdev(found):.2f}" if len(found) > 1 else ""
    return f"{fmean(found):.2f}{spread} (n={len(found)})"


def _row(task: Task) -> Row:
    asked = {
        # Only its architecture is used: `pkkd` trains one of its own.
        "teacher": {"architecture": "cifar_resnet8", "training": {"epochs": 5, "batch_size": 64}},
        "dataset": {"source": "digits", "image_size": _SIDE},
        "budget": {"flops": "99%"},
        "seed": task.seed,
    }
    _, bench = jobs.profile(task.home / f"seed-{task.seed}", asked)
    _, *blocks = find_blocks(bench.teacher, "block")
    plan = Plan({block.name: Option.of("adder") for block in blocks})
    built = Setting(rewrite(bench.teacher, plan), bench.views, bench.answers, task.seed)
    setting = Setting(built.twin(0), bench.views, bench.answers, task.seed)
    images = task.epochs * len(bench.train)
    recipe = Recipe(
        images=images, pool=images, batch_size=64, optimizer="sgd", lr=0.1, weight_decay=5e-4
    )
    training = Training(setting, METHODS[task.method].of({}), recipe)
    started = time.perf_counter()
    training.run()
    seconds = time.perf_counter() - started
    cost = count(training.deployed, 1, 3, _SIDE, _SIDE)
    return {
        "method": task.method,
        "epochs": task.epochs,
        "seed": task.seed,
        "images": images,
        "flops": cost.flops,
        "adds": cost.adds,
        "test_accuracy": evaluate(training.deployed, bench.test).accuracy,
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    main()
