"""What each distillation method is worth: `python -m benchmarks.methods`.

One plan, OD's depthwise student: every 3x3 convolution of the ResNet-20 teacher but the stem a
depthwise and a 1x1 convolution. Given the trained teacher, its weights are those of a library;
where a method builds its teacher as it goes, or has none, everything starts from random weights.
Each sees the same number of training images and is tested at their end.
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
from torch import fx

from benchmarks import jobs
from benchmarks.memory import peak_megabytes
from benchmarks.pool import single_threaded
from benchmarks.record import Record
from benchmarks.setting import require_data, spec
from pareconv.models.blocks import find_blocks
from pareconv.models.plan import Option, Plan
from pareconv.search.distillation.setting import Setting
from pareconv.search.evaluation import evaluate, recalibrate
from pareconv.search.finishing import PACE
from pareconv.search.run import Profiled
from pareconv.search.seeds import derived
from pareconv.search.spec import Finish
from pareconv.search.teaching import training_of
from pareconv.search.trial import assemble
from pareconv.search.workbench import Workbench

Row = dict[str, Any]

_IMAGES = 20_000
_OPTION = Option.of("depthwise")

# What the `finish` of a job may say, beside the method's name.
TABLES: dict[str, dict[str, dict[str, Any]]] = {
    "trained": {
        "labels": {},
        "kd": {},
        "kd, scaled": {"scale_weight_decay": True},
        "attention": {},
        "features": {},
        "features, cosine": {"parameters": {"distance": "cosine"}},
        "balanced": {},
        "sparse_matching": {},
        "curriculum": {},
    },
    "none": {
        "labels": {},
        "labels, scaled": {"scale_weight_decay": True},
        "mutual": {},
        "online_ensemble": {},
        "collaborative": {"parameters": {"partners": "standard"}},
        "pkkd": {},
        "peer": {},
        "curriculum, labels": {"parameters": {"method": "labels"}},
    },
}
KEYS = ("teacher", "method", "seed", "images")


@dataclass(frozen=True)
class Task:
    """One row to be made, on the workbench and the library of its seed in `home`."""

    teacher: str
    method: str
    seed: int
    images: int
    ready: "Ready"


@dataclass(frozen=True)
class Ready:
    """What all methods of a seed start from."""

    home: Path
    profiled: Profiled
    plan: Plan
    weights: dict[str, str]
    teacher_test_accuracy: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=_IMAGES)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--home", type=Path, default=Path("build/bench-methods"))
    arguments = parser.parse_args()
    require_data()
    record = Record("methods", KEYS)
    waiting = [
        {"teacher": teacher, "method": method, "seed": seed, "images": arguments.images}
        for seed in arguments.seeds
        for teacher, methods in TABLES.items()
        for method in methods
    ]
    waiting = [each for each in waiting if not record.has(**each)]
    # A process for each row: its peak of memory is its own.
    with single_threaded(arguments.processes, rows_each=1) as pool:
        seeds = sorted({each["seed"] for each in waiting})
        made = [pool.submit(_ready, seed, arguments.home) for seed in seeds]
        ready = {seed: future.result() for seed, future in zip(seeds, made, strict=True)}
        tasks = [Task(**each, ready=ready[each["seed"]]) for each in waiting]
        for future in as_completed([pool.submit(_row, task) for task in tasks]):
            record.add(row := future.result())
            print(row, flush=True)
    for teacher in TABLES:
        Console().print(table(record.rows, teacher))


def table(rows: list[Row], teacher: str) -> Table:
    """Mean and spread of the test accuracy of every method that had such a teacher."""
    shown = Table("method", "test accuracy", "images/s", "peak memory")
    mine = [row for row in rows if row["teacher"] == teacher]
    found = {
        method: [row for row in mine if row["method"] == method]
        for method in dict.fromkeys(row["method"] for row in mine)
    }
    for method, each in sorted(found.items(), key=lambda pair: -_mean(pair[1], "test_accuracy")):
        accuracies = [100 * row["test_accuracy"] for row in each]
        spread = f" ± {stdev(accuracies):.2f}" if len(each) > 1 else ""
        shown.add_row(
            _named(teacher, method),
            f"{fmean(accuracies):.2f}{spread} (n={len(each)})",
            f"{_mean(each, 'images_per_second'):.0f}",
            f"{max(row['peak_megabytes'] for row in each):,.0f} MB",
        )
    images = ", ".join(f"{number:,}" for number in sorted({row["images"] for row in mine}))
    shown.caption = (
        f"{images} training images, {mine[0]['flops_ratio']:.0%} of the teacher's FLOPs; test "
        f"accuracy in %, the trained teacher's {100 * mine[0]['teacher_test_accuracy']:.2f}; one "
        "thread each, two processes side by side"
    )
    return shown


def _named(teacher: str, method: str) -> str:
    asked = TABLES[teacher].get(method, {})
    parameters = asked.get("parameters", {}) | {k: v for k, v in asked.items() if v is True}
    told = ", ".join(f"{name}={value}" for name, value in parameters.items())
    return f"`{method.split(',')[0]}`" + (f" ({told})" if told else "")


def _mean(rows: list[Row], key: str) -> float:
    return fmean(row[key] for row in rows)


def _ready(seed: int, home: Path) -> Ready:
    """The library of the option, by a job that tries it once."""
    home = home / f"seed-{seed}"
    asked = spec(
        0.99,
        seed,
        search={"operators": [_OPTION.operator], "trials": 1, "repeats": 0},
        distill={"epochs": 64 / 49_000},
        finish={"finalists": 0},
    )
    done = jobs.run(home, asked)
    _, *blocks = find_blocks(done.bench.teacher, "block")
    plan = Plan({block.name: _OPTION for block in blocks})
    accuracy = evaluate(done.bench.teacher, done.bench.test).accuracy
    return Ready(home, done.profiled, plan, dict(done.prepared.weights(plan)), accuracy)


def _row(task: Task) -> Row:
    ready = task.ready
    bench, files = jobs.reopen(ready.home, ready.profiled)
    student, _ = assemble(bench, ready.plan, ready.weights, files)
    if task.teacher == "none":
        student = _drawn_anew(bench, student, task.seed)
    name = task.method.split(",")[0]
    asked = Finish(
        method=name,
        epochs=task.images / len(bench.train),
        views=task.images,
        batch_size=64,
        **TABLES[task.teacher][task.method],
    )
    before = evaluate(student, bench.validation).accuracy
    training = training_of(bench, student, asked, "methods", task.seed, pace=PACE)
    started = time.perf_counter()
    training.run()
    seconds = time.perf_counter() - started
    return {
        "teacher": task.teacher,
        "method": task.method,
        "seed": task.seed,
        "images": task.images,
        "parameters": asked.parameters,
        "flops_ratio": bench.ratio(student),
        "validation_accuracy_before": before,
        "test_accuracy": evaluate(training.deployed, bench.test).accuracy,
        "teacher_test_accuracy": ready.teacher_test_accuracy,
        "images_per_second": round(task.images / seconds, 1),
        "peak_megabytes": peak_megabytes(bench.spec.device),
        "seconds": round(seconds, 1),
    }


def _drawn_anew(bench: Workbench, student: fx.GraphModule, seed: int) -> fx.GraphModule:
    network = Setting(student, bench.views, None, derived(seed, "methods")).twin(0)
    recalibrate(network, bench.recalibration)
    return network


if __name__ == "__main__":
    main()
