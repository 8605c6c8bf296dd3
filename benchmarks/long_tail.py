"""Whether `balanced` helps where classes are rare: `python -m benchmarks.long_tail`.

CIFAR-10 as JPEG with an exponential imbalance of 0.01, its rarest class 1 % of its largest. The
ResNet-20 teacher is trained on that briefly, so that it is biased as one would be that never saw
anything else; a depthwise student of it is taught by `kd` and by `balanced` with the same images.
"""

import argparse
import copy
import time
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, fx

from benchmarks import jobs
from benchmarks.pool import single_threaded
from benchmarks.record import Record
from benchmarks.setting import require_data, spec
from pareconv.models.blocks import find_blocks
from pareconv.models.plan import Option, Plan
from pareconv.models.rewriting import rewrite
from pareconv.search.answers import Answers
from pareconv.search.data.batches import Split, eval_batches
from pareconv.search.evaluation import recalibrate
from pareconv.search.finishing import PACE
from pareconv.search.spec import Finish
from pareconv.search.teaching import training_of
from pareconv.search.workbench import Workbench

Row = dict[str, Any]

_IMBALANCE = 0.01
_IMAGES = 20_000
_TAIL = 3  # classes
_TEACHER_LR = 0.05  # high enough to make one that knows all classes forget the rare ones
_METHODS: dict[str, dict[str, Any]] = {
    "kd": {},
    # The labels have their full weight in it, and the teacher as much.
    "kd, alpha 0.5": {"alpha": 0.5},
    "balanced": {},
    "balanced, deferred": {"deferred": 0.8},
}


@dataclass(frozen=True)
class Task:
    method: str
    seed: int
    home: Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--home", type=Path, default=Path("build/bench-long-tail"))
    arguments = parser.parse_args()
    require_data()
    record = Record("long_tail", ("method", "seed"))
    tasks = [
        Task(method, seed, arguments.home)
        for seed in arguments.seeds
        for method in _METHODS
        if not record.has(method=method, seed=seed)
    ]
    with single_threaded(arguments.processes) as pool:
        for future in as_completed([pool.submit(_row, task) for task in tasks]):
            record.add(row := future.result())
            print(row, flush=True)
    Console().print(table(record.rows))


def table(rows: list[Row]) -> Table:
    """Test accuracy over all classes and over the rarest, mean and spread."""
    shown = Table("method", "all classes", f"the {_TAIL} rarest classes")
    teachers = {row["seed"]: row for row in rows}.values()
    shown.add_row("the teacher", *_cells(list(teachers), "teacher_accuracy", "teacher_tail"))
    for method in _METHODS:
        mine = [row for row in rows if row["method"] == method]
        if mine:
            name, _, changed = method.partition(", ")
            told = f"`{name}`" + (f" ({changed})" if changed else "")
            shown.add_row(told, *_cells(mine, "accuracy", "tail"))
    shown.caption = (
        f"test accuracy in %, mean ± standard deviation over n seeds; {rows[0]['train']:,} "
        f"training images, the rarest class has {rows[0]['rarest']}; {_IMAGES:,} shown"
    )
    return shown


def _cells(rows: list[Row], *keys: str) -> list[str]:
    cells = []
    for key in keys:
        found = [100 * row[key] for row in rows]
        spread = f" ± {stdev(found):.2f}" if len(found) > 1 else ""
        cells.append(f"{fmean(found):.2f}{spread} (n={len(found)})")
    return cells


def _row(task: Task) -> Row:
    started = time.perf_counter()
    asked = spec(0.99, task.seed)
    asked["dataset"] |= {"imbalance": _IMBALANCE}
    _, bench = jobs.profile(task.home / f"seed-{task.seed}", asked)
    bench = _biased(bench)
    _, *blocks = find_blocks(bench.teacher, "block")
    plan = Plan({block.name: Option.of("depthwise") for block in blocks})
    student = rewrite(bench.teacher, plan, bench.sample).requires_grad_(True)
    recalibrate(student, bench.recalibration)
    name, parameters = task.method.split(",")[0], _METHODS[task.method]
    _teach(bench, student, method=name, parameters=parameters)
    accuracy, tail = _accuracies(student, bench.test)
    teacher_accuracy, teacher_tail = _accuracies(bench.teacher, bench.test)
    counts = bench.train.labels.bincount()
    return {
        "method": task.method,
        "seed": task.seed,
        "accuracy": accuracy,
        "tail": tail,
        "teacher_accuracy": teacher_accuracy,
        "teacher_tail": teacher_tail,
        "train": len(bench.train),
        "rarest": int(counts.min()),
        "images": _IMAGES,
        "seconds": round(time.perf_counter() - started, 1),
    }


def _biased(bench: Workbench) -> Workbench:
    """The workbench with a teacher that has come to know the long tail."""
    teacher = copy.deepcopy(bench.teacher).requires_grad_(True)
    _teach(bench, teacher, method="labels", optimizer="sgd", lr=_TEACHER_LR)
    teacher.requires_grad_(False)
    return replace(bench, teacher=teacher, answers=Answers(teacher, bench.answers.taps))


def _teach(bench: Workbench, network: fx.GraphModule, **asked: Any) -> None:
    """To the end: the validation split is as long-tailed, and would choose for the many."""
    epochs = _IMAGES / len(bench.train)
    finish = Finish(epochs=epochs, views=_IMAGES, batch_size=64, **asked)
    training = training_of(bench, network, finish, "long tail", pace=PACE)
    training.run()
    network.load_state_dict(training.deployed.state_dict())


@torch.no_grad()
def _accuracies(network: fx.GraphModule, split: Split) -> tuple[float, float]:
    """Over all images, and over those of the rarest classes, which are the last."""
    correct = torch.cat([_correct(network, *batch) for batch in eval_batches(split, 500)])
    is_tail = split.labels >= int(split.labels.max()) + 1 - _TAIL
    return float(correct.float().mean()), float(correct[is_tail].float().mean())


def _correct(network: fx.GraphModule, images: Tensor, labels: Tensor) -> Tensor:
    found: Tensor = network(images).argmax(1) == labels
    return found


if __name__ == "__main__":
    main()
