"""How well the sum over its parts predicts a student's latency: `python -m benchmarks.latency`.

ResNet-18 on images of 64 pixels, random weights: what counts is how long it takes.
"""

import argparse
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from benchmarks.record import Record
from pareconv.models.cost_table import CostTable
from pareconv.models.graph import canonical
from pareconv.models.latency import Conditions, compare, measure, parts
from pareconv.models.plan import KEEP, Plan
from pareconv.models.rewriting import rewrite
from pareconv.models.space import Scope, find_space
from pareconv.models.teachers.architectures import architecture

Row = dict[str, Any]

_SHAPE = (1, 3, 64, 64)
_PLANS = 30
_RUNTIMES = ("onnxruntime", "torch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    record = Record("latency", ("runtime", "threads", "plan"))
    for runtime in _RUNTIMES:
        for row in _rows(Conditions(runtime, threads=arguments.threads)):
            record.add(row | {"runtime": runtime, "threads": arguments.threads})
    Console().print(table(record.rows))


def table(rows: list[Row]) -> Table:
    """Rank correlation and error of the prediction, by runtime."""
    shown = Table(
        "runtime", "threads", "students", "teacher", "measured", "Spearman's rho",
        "median error", "largest error",
    )  # fmt: skip
    for runtime, threads in sorted({(row["runtime"], row["threads"]) for row in rows}):
        chosen = [row for row in rows if (row["runtime"], row["threads"]) == (runtime, threads)]
        predicted = np.array([row["predicted_ms"] for row in chosen])
        measured = np.array([row["measured_ms"] for row in chosen])
        errors = abs(predicted - measured) / measured
        shown.add_row(
            runtime,
            str(threads),
            str(len(chosen)),
            f"{chosen[0]['teacher_ms']:.2f} ms",
            f"{measured.min():.2f} to {measured.max():.2f} ms",
            f"{spearmanr(predicted, measured).statistic:.3f}",
            f"{np.median(errors):.1%}",
            f"{errors.max():.1%}",
        )
    shown.caption = "the teacher's latency plus what each option changes of its block's"
    return shown


def _rows(conditions: Conditions) -> Iterator[Row]:
    torch.manual_seed(0)
    network = canonical(architecture("resnet18").build(10)).eval()
    space = find_space(network, _SHAPE, Scope())
    wanted = {
        block: [option for option in space.table.changes[block.name] if option != KEEP]
        for block in space.blocks
    }
    found = parts(network, _SHAPE, wanted, conditions)
    measured = {each.key: each for each in measure(network, _SHAPE, found, conditions)}
    changes = {
        block.name: {
            part.option: measured[part.key].change_ms for part in found if part.block == block
        }
        for block in space.blocks
    }
    costs = space.table.with_latencies(measured[found[0].key].ms, changes)
    plans = list(_plans(costs))
    students = [rewrite(network, plan) for plan in plans]
    teacher, *timings = compare([network, *students], _SHAPE, conditions)
    for number, (plan, timing) in enumerate(zip(plans, timings, strict=True)):
        yield {
            "plan": number,
            "predicted_ms": costs.cost(plan).latency_ms,
            "measured_ms": timing.ms,
            "teacher_ms": teacher.ms,
            "flops_ratio": costs.cost(plan).quantity("flops") / costs.teacher.quantity("flops"),
        }


def _plans(costs: CostTable) -> Iterator[Plan]:
    """From few blocks rebuilt to nearly all."""
    draw = random.Random(0)
    for number in range(_PLANS):
        share = (number + 1) / (_PLANS + 1)
        plan: Plan = Plan({})
        while not plan:
            plan = Plan(
                {
                    block: draw.choice([option for option in options if option != KEEP])
                    for block, options in costs.changes.items()
                    if draw.random() < share
                }
            )
        yield plan


if __name__ == "__main__":
    main()
