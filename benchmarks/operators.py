"""What each operator is worth: `python -m benchmarks.operators`.

One option in every block of the ResNet-20 teacher that takes it, the stem aside, from three starts:
new layers drawn at random, from closed forms, and distilled block by block after that. Each student
is then taught with the same 10,000 images and tested.
"""

import argparse
import copy
import time
from collections.abc import Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import fx, nn

from benchmarks import jobs
from benchmarks.pool import single_threaded
from benchmarks.record import Record
from benchmarks.setting import require_data, spec
from pareconv.models.blocks import find_blocks
from pareconv.models.convolutions.base import CheapConv
from pareconv.models.convolutions.registry import OPERATORS, options
from pareconv.models.cost import count
from pareconv.models.plan import Option, Plan
from pareconv.models.rewriting import choices, rebuild, refusals, rewrite
from pareconv.search.blockwise import Lessons, apprentices, teach
from pareconv.search.evaluation import evaluate, recalibrate
from pareconv.search.run import Profiled
from pareconv.search.seeds import derived
from pareconv.search.teaching import training_of
from pareconv.search.trial import PACE
from pareconv.search.workbench import Workbench

Row = dict[str, Any]

_SHAPE = (1, 3, 32, 32)
_IMAGES = 10_000
_BLOCKWISE_IMAGES = 6144  # as many as two rungs of a library show
STARTS = ("cold", "closed form", "block-wise")


@dataclass(frozen=True)
class Task:
    """One row to be made, on the workbench that was profiled in `home`."""

    option: str
    start: str
    profiled: Profiled
    teacher_test_accuracy: float
    home: Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--home", type=Path, default=Path("build/bench-operators"))
    parser.add_argument("--operators", nargs="+", default=sorted(OPERATORS))
    arguments = parser.parse_args()
    require_data()
    record = Record("operators", ("option", "start"))
    with single_threaded(arguments.processes) as pool:
        profiled, accuracy = pool.submit(_profiled, arguments.home).result()
        tasks = [
            Task(str(option), start, profiled, accuracy, arguments.home)
            for option in _in_turn(arguments.operators)
            for start in STARTS
            if not record.has(option=str(option), start=start)
        ]
        for future in as_completed([pool.submit(_row, task) for task in tasks]):
            record.add(row := future.result())
            print(row, flush=True)
    Console().print(table(record.rows))


def _in_turn(operators: Sequence[str]) -> list[Option]:
    """Every option, the middle one of each operator first, and last what takes longest."""
    middle = {found[len(found) // 2] for found in (options([name]) for name in operators)}

    def turn(option: Option) -> tuple[bool, bool]:
        return not OPERATORS[option.operator].saves, option not in middle

    return sorted(options(operators), key=turn)


def table(rows: list[Row]) -> Table:
    """Cost and test accuracy of every option, the dearest first."""
    shown = Table("option", "FLOPs", "additions", "parameters", "blocks", *STARTS)
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        found.setdefault(row["option"], {})[row["start"]] = row
    for option, starts in sorted(found.items(), key=lambda each: -_cost(each[1])):
        one = next(iter(starts.values()))
        accuracies = (
            starts[start]["test_accuracy"] if start in starts else None for start in STARTS
        )
        shown.add_row(
            f"`{option}`",
            f"{one['flops_ratio']:.1%}",
            f"{one['adds_ratio']:.0%}" if one["adds_ratio"] else "",
            f"{one['params_ratio']:.1%}",
            str(one["blocks"]),
            *("" if each is None else f"{100 * each:.1f}" for each in accuracies),
        )
    shown.caption = (
        f"Shares of the teacher's; test accuracy in %, one seed, the teacher's "
        f"{100 * rows[0]['teacher_test_accuracy']:.2f}; block-wise distillation takes "
        f"{_BLOCKWISE_IMAGES:,} images more"
    )
    return shown


def _cost(starts: dict[str, Row]) -> float:
    row = next(iter(starts.values()))
    return float(row["flops_ratio"] + row["adds_ratio"])


def _profiled(home: Path) -> tuple[Profiled, float]:
    """Beside it the teacher's test accuracy."""
    profiled, bench = jobs.profile(home, spec(0.99, 0, distill={"epochs": _IMAGES / 49_000}))
    return profiled, evaluate(bench.teacher, bench.test).accuracy


def _row(task: Task) -> Row:
    bench, _ = jobs.reopen(task.home, task.profiled)
    started = time.perf_counter()
    torch.manual_seed(derived(0, task.option, task.start))
    plan = everywhere(bench.teacher, Option.parse(task.option))
    student = _STARTED[task.start](bench, plan).requires_grad_(True)
    recalibrate(student, bench.recalibration)
    before = evaluate(student, bench.validation).accuracy
    training = training_of(bench, student, bench.spec.distill, "trial", pace=PACE)
    training.run()
    cost, whole = count(student, *_SHAPE), count(bench.teacher, *_SHAPE)
    return {
        "option": task.option,
        "start": task.start,
        "blocks": len(plan),
        "flops_ratio": cost.flops / whole.flops,
        "adds_ratio": cost.adds / whole.flops,
        "params_ratio": cost.params / whole.params,
        "images": training.images,
        "validation_accuracy_before": before,
        "test_accuracy": evaluate(student, bench.test).accuracy,
        "teacher_test_accuracy": task.teacher_test_accuracy,
        "seconds": round(time.perf_counter() - started, 1),
    }


def everywhere(teacher: fx.GraphModule, option: Option) -> Plan:
    """In every block but the stem; FLOPs decide nothing here."""
    _, *blocks = find_blocks(teacher, "block")
    return Plan(
        {
            block.name: option
            for block in blocks
            if len(refusals(teacher, block, option)) < len(block.convs)
        }
    )


def _cold(bench: Workbench, plan: Plan) -> fx.GraphModule:
    """What the option changes is drawn at random, all else is the teacher's."""
    student = copy.deepcopy(bench.teacher)
    (option,) = set(plan.values())
    for rebuilt in rebuild(bench.teacher, choices(bench.teacher, plan)):
        rebuilt.apply(student)
        for name, module in rebuilt.modules.items():
            if isinstance(module, CheapConv):
                conv = bench.teacher.get_submodule(name)
                assert isinstance(conv, nn.Conv2d)
                fresh = type(module)(conv, **option.kwargs)
                student.set_submodule(name, fresh.to(conv.weight.device))
            else:
                module.reset_parameters()  # type: ignore[operator]
    return student


def _closed_form(bench: Workbench, plan: Plan) -> fx.GraphModule:
    return rewrite(bench.teacher, plan, bench.sample)


def _blockwise(bench: Workbench, plan: Plan) -> fx.GraphModule:
    learners = apprentices(bench.teacher, choices(bench.teacher, plan), bench.sample)
    library = bench.spec.library
    assert library is not None
    assert isinstance(library.batch_size, int)  # resolved
    assert isinstance(library.lr, float)
    lessons = Lessons(
        first=0, images=_BLOCKWISE_IMAGES, batch_size=library.batch_size, lr=library.lr
    )
    taught = [each for each in learners if list(each.network.parameters())]
    if taught:
        teach(bench.teacher, taught, bench.views, lessons)
    student = rewrite(bench.teacher, plan)
    for learner in learners:
        student.load_state_dict(learner.network.state_dict(), strict=False)
    return student


_STARTED = {"cold": _cold, "closed form": _closed_form, "block-wise": _blockwise}


if __name__ == "__main__":
    main()
