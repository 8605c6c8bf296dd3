"""A job with a latency budget: ResNet-18 on CIFAR-10 as JPEG at 64 pixels, 60 % of the teacher's
latency in ONNX Runtime: `python -m benchmarks.latency_budget`.

Teacher and students are trained briefly: what counts is whether the finalist is as fast as asked.
"""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import jobs
from benchmarks.record import Record
from benchmarks.setting import DATA, require_data

Row = dict[str, Any]

_LIMIT = 0.6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=Path("build/bench-latency-budget"))
    arguments = parser.parse_args()
    require_data()
    record = Record("latency_budget", ("trial", "runtime"))
    for row in _rows(arguments.home):
        record.add(row)
    Console().print(table(record.rows))


def table(rows: list[Row]) -> Table:
    """What was asked, predicted and measured, by runtime."""
    shown = Table(
        "student",
        "FLOPs",
        "predicted",
        "runtime",
        "teacher",
        "student",
        "measured",
        "test accuracy",
    )
    for row in rows:
        shown.add_row(
            str(row["trial"]),
            f"{row['flops_ratio']:.0%}",
            f"{row['predicted_ratio']:.1%}",
            row["runtime"],
            f"{row['teacher_ms']:.2f} ms",
            f"{row['student_ms']:.2f} ms",
            f"{row['student_ms'] / row['teacher_ms']:.1%}",
            f"{row['test_accuracy']:.1%}, the teacher's {row['teacher_test_accuracy']:.1%}",
        )
    shown.caption = f"the budget is {_LIMIT:.0%} of the teacher's latency in ONNX Runtime"
    return shown


def _rows(home: Path) -> list[Row]:
    done = jobs.run(
        home,
        {
            "teacher": {
                "architecture": "resnet18",
                "training": {"epochs": 0.2, "batch_size": 64, "lr": 0.02},
            },
            "dataset": {
                "source": f"file:{DATA}",
                "image_size": 64,
                "validation_fraction": 0.02,
            },
            "budget": {"latency": {"ms": f"{_LIMIT:.0%}"}},
            "library": {"rungs": 0, "score_images": 32},
            "search": {
                "operators": ["svd", "slim"],
                "objectives": ["accuracy", "latency"],
                "trials": 2,
                "repeats": 0,
            },
            "distill": {"epochs": 0.02},
            "finish": {"finalists": 1, "epochs": 0.1},
        },
    )
    teacher = done.profiled.profile["teacher"]
    return [
        {
            "trial": each.number,
            "flops_ratio": each.flops / teacher["flops"],
            "predicted_ratio": each.latency_ms / teacher["latency_ms"],
            "test_accuracy": each.test_accuracy,
            "teacher_test_accuracy": teacher["test_accuracy"],
            **timed,
        }
        for each in done.candidates
        if each.finalist and each.latency_ms is not None
        for timed in each.latencies
    ]


if __name__ == "__main__":
    main()
