"""The precision in which Muon iterates, on the processor at hand: `python -m benchmarks.muon`.

Students of the ResNet-20 teacher with a quarter of the rank everywhere, taught with 8,000 images
each from a closed form: for three seeds once in bfloat16, as torch's own Muon does, and once in
float32. Seconds are of one thread, the two in turns.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import jobs
from benchmarks.operators import everywhere
from benchmarks.record import Record
from benchmarks.setting import require_data, spec
from pareconv.models.plan import Option
from pareconv.models.rewriting import rewrite
from pareconv.search import muon
from pareconv.search.evaluation import evaluate, recalibrate
from pareconv.search.precision import has_bfloat16
from pareconv.search.teaching import training_of
from pareconv.search.trial import PACE

Row = dict[str, Any]

_IMAGES = 8000
_OPTION = Option.of("svd", ratio=0.25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=Path("build/bench-muon"))
    arguments = parser.parse_args()
    require_data()
    torch.set_num_threads(1)
    record = Record("muon", ("precision", "seed"))
    for seed in range(3):
        if not record.has(seed=seed):
            for row in _rows(arguments.home / str(seed), seed):
                record.add(row)
    Console().print(table(record.rows))


def table(rows: list[Row]) -> Table:
    """Validation accuracy and time by precision."""
    shown = Table("precision", "validation accuracy", "seconds", "share of bfloat16's")
    whole = sum(row["seconds"] for row in rows if row["precision"] == "bfloat16")
    for precision in ("bfloat16", "float32"):
        found = [row for row in rows if row["precision"] == precision]
        accuracies = [100 * row["accuracy"] for row in found]
        seconds = sum(row["seconds"] for row in found)
        shown.add_row(
            precision,
            f"{statistics.mean(accuracies):.2f} ± {statistics.stdev(accuracies):.2f} "
            f"(n={len(found)})",
            f"{seconds / len(found):.0f}",
            f"{seconds / whole:.0%}",
        )
    native = "has" if rows[0]["is_native"] else "has no"
    shown.caption = (
        f"Mean ± standard deviation over seeds; the processor {native} instructions for bfloat16, "
        "and all but Muon's iteration is alike."
    )
    return shown


def _rows(home: Path, seed: int) -> Iterator[Row]:
    _, bench = jobs.profile(home, spec(0.99, seed, distill={"epochs": _IMAGES / 49_000}))
    for precision in ("bfloat16", "float32"):
        student = rewrite(bench.teacher, everywhere(bench.teacher, _OPTION), bench.sample)
        student.requires_grad_(True)
        recalibrate(student, bench.recalibration)
        training = training_of(bench, student, bench.spec.distill, "trial", pace=PACE)
        started = time.perf_counter()
        with patch.object(muon, "has_bfloat16", return_value=precision == "bfloat16"):
            loss = training.run()
        yield {
            "precision": precision,
            "seed": seed,
            "is_native": has_bfloat16("cpu"),
            "accuracy": evaluate(student, bench.validation).accuracy,
            "loss": loss,
            "seconds": round(time.perf_counter() - started, 1),
        }


if __name__ == "__main__":
    main()
