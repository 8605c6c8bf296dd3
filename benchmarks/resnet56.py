"""ResNet-56 at 2.1 times fewer FLOPs, on a GPU where there is one: `python -m benchmarks.resnet56`.

Teacher, search and finish are parts of their own, done one after the other or one at a time
(`--part`); what a part leaves in `--home` the next one takes up, and a part that is recorded is not
done again.
"""

import argparse
import copy
import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryFile
from typing import IO, Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import jobs
from benchmarks.record import Record
from benchmarks.setting import DATA, require_data
from pareconv.models.plan import Plan
from pareconv.models.rewriting import rewrite
from pareconv.search.checkpoints import restore_weights
from pareconv.search.evaluation import evaluate
from pareconv.search.executors.inline import Inline
from pareconv.search.finishing import polish
from pareconv.search.run import Profiled
from pareconv.search.spec import JobSpec

Row = dict[str, Any]

_RATIO = 1 / 2.1
_PARTS = ("teacher", "search", "finish")


class Stopwatch:
    """Seconds, and the share of them that a GPU was busy, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._busy: dict[str, list[float]] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        with _utilisation() as samples:
            yield
        taken = time.perf_counter() - started
        self.seconds[name] = self.seconds.get(name, 0.0) + taken
        self._busy.setdefault(name, []).extend(samples)

    def busy(self, name: str) -> float | None:
        """None where there is no GPU."""
        samples = self._busy.get(name)
        return fmean(samples) if samples else None


class Timed(Inline):
    """An executor with an eye on the clock."""

    def __init__(self, watch: Stopwatch) -> None:
        self._watch = watch

    def call(self, task: str, payload: Mapping[str, Any], **kwargs: Any) -> Row:
        with self._watch.of(task):
            return super().call(task, payload, **kwargs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=_PARTS, action="append", help="by default all of them")
    parser.add_argument("--epochs", type=float, default=60, help="of the teacher")
    parser.add_argument("--rungs", type=int, default=2, help="of the library")
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--trial-epochs", type=float, default=1.0)
    parser.add_argument("--minutes", type=float, default=10, help="of the finish")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--home", type=Path, default=Path("build/bench-resnet56"))
    parser.add_argument("--name", default="resnet56", help="of the results file")
    arguments = parser.parse_args()
    require_data()
    record = Record(arguments.name, ("what",))
    parts = {"teacher": _teacher, "search": _search, "finish": _finish}
    for part in arguments.part or _PARTS:
        if not record.has(part=part):
            for row in parts[part](arguments):
                record.add(row | {"part": part, "device": _device()})
    Console().print(table(record.rows))


def table(rows: list[Row]) -> Table:
    """What each stage did, how fast, and how good the networks are."""
    shown = Table("stage", "seconds", "images/s", "forward passes/s", "GPU busy", "found")
    order = ("teacher", "library", "trials", "finish")
    for row in sorted(rows, key=lambda row: order.index(row["what"])):
        speeds = (row[key] / row["seconds"] for key in ("images", "compute"))
        busy = row["busy"]
        shown.add_row(
            row["what"],
            f"{row['seconds']:,.0f}",
            *(f"{speed:,.0f}" for speed in speeds),
            "" if busy is None else f"{busy:.0%}",
            row["found"],
        )
    devices = ", ".join(sorted({row["device"] for row in rows}))
    shown.caption = (
        "images are training images, in the library those of all options; forward passes are those "
        f"of one image through the teacher that everything is worth; {devices}"
    )
    return shown


def _teacher(arguments: argparse.Namespace) -> Iterator[Row]:
    """Trained by the profile stage of a job without weights."""
    watch = Stopwatch()
    asked = _spec(arguments, training={"epochs": arguments.epochs})
    with watch.of("teacher"):
        _, bench = jobs.profile(arguments.home / "search", asked)
    torch.save(bench.teacher.state_dict(), _weights(arguments.home))
    images = arguments.epochs * len(bench.train)
    found = evaluate(bench.teacher, bench.test).accuracy
    yield _row(watch, "teacher", images, 3 * images, f"test accuracy {found:.2%}") | {
        "test_accuracy": found,
        "flops": bench.teacher_flops,
    }


def _search(arguments: argparse.Namespace) -> Iterator[Row]:
    watch = Stopwatch()
    shutil.rmtree(arguments.home / "search", ignore_errors=True)  # half a library cannot be timed
    done = jobs.run(arguments.home / "search", _spec(arguments), Timed(watch))
    assert done.library is not None
    shown = sum(entry.images for entry in done.entries)
    scored = sum(entry.score is not None for entry in done.entries)
    found = f"{len(done.entries)} options, {scored} of them scored"
    yield _row(watch, "library", shown, done.library.compute, found)
    candidates, best = done.candidates, done.best
    yield _row(
        watch,
        "trials",
        sum(each.images or 0 for each in candidates),
        sum(each.compute or 0.0 for each in candidates),
        f"{len(candidates)} trials, best validation accuracy {best.accuracy:.2%}",
        task="evaluate",
    )
    _found(arguments.home).write_text(
        json.dumps(
            {
                "spec": done.profiled.spec.to_json(),
                "profile": done.profiled.profile,
                "plan": best.plan,
                "checkpoint": best.checkpoint,
            }
        )
    )


def _finish(arguments: argparse.Namespace) -> Iterator[Row]:
    """With as many epochs as the time allows, by the pace of a first one."""
    found = json.loads(_found(arguments.home).read_text())
    profiled = Profiled(JobSpec.model_validate(found["spec"]), found["profile"])
    bench, files = jobs.reopen(arguments.home / "search", profiled)
    student = rewrite(bench.teacher, Plan.from_json(found["plan"])).requires_grad_(True)
    restore_weights(student, found["checkpoint"], files)
    accuracy_before = evaluate(student, bench.validation).accuracy

    def polished(network: torch.fx.GraphModule, epochs: float) -> tuple[float, float]:
        finish = bench.spec.finish.model_copy(update={"epochs": epochs})
        spec = bench.spec.model_copy(update={"finish": finish})
        return polish(replace(bench, spec=spec), network)

    probed = min(1.0, arguments.minutes / 10)
    started = time.perf_counter()
    polished(copy.deepcopy(student), probed)
    pace = probed / (time.perf_counter() - started)
    epochs = pace * 60 * arguments.minutes
    watch = Stopwatch()
    with watch.of("finish"):
        accuracy, compute = polished(student, epochs)
    tested = evaluate(student, bench.test).accuracy
    teacher = evaluate(bench.teacher, bench.test).accuracy
    images = epochs * len(bench.train)
    row = _row(
        watch,
        "finish",
        images,
        compute,
        f"{epochs:.1f} epochs at {bench.ratio(student):.1%} of the FLOPs: test accuracy "
        f"{tested:.2%}, its teacher {teacher:.2%}",
    )
    yield row | {
        "epochs": epochs,
        "accuracy_before": accuracy_before,
        "accuracy": accuracy,
        "test_accuracy": tested,
        "teacher_test_accuracy": teacher,
        "flops_ratio": bench.ratio(student),
    }


def _spec(arguments: argparse.Namespace, **teacher: Any) -> Row:
    weights = _weights(arguments.home)
    known = {} if teacher else {"weights": f"file:{weights.resolve()}"}
    return {
        "teacher": {"architecture": "cifar_resnet56", "normalize": "cifar10"} | known | teacher,
        "dataset": {"source": f"file:{DATA}", "validation_fraction": 0.02},
        "budget": {"flops": f"{100 * _RATIO:.2f}%"},
        "library": {"rungs": arguments.rungs},
        "search": {"granularity": "conv", "trials": arguments.trials, "repeats": 0},
        "distill": {"epochs": arguments.trial_epochs},
        "finish": {"finalists": 0},
        "device": arguments.device,
    }


def _row(
    watch: Stopwatch, what: str, images: float, compute: float, found: str, task: str | None = None
) -> Row:
    name = task or what
    return {
        "what": what,
        "seconds": watch.seconds[name],
        "busy": watch.busy(name),
        "images": images,
        "compute": compute,
        "found": found,
    }


def _weights(home: Path) -> Path:
    return home / "teacher.pt"


def _found(home: Path) -> Path:
    return home / "found.json"


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


@contextmanager
def _utilisation() -> Iterator[list[float]]:
    """Filled at its end with the share of each fifth of a second in which a kernel ran."""
    samples: list[float] = []
    if not torch.cuda.is_available():
        yield samples
        return
    query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    with TemporaryFile("w+") as written:
        with _running([*query, "-lms", "200"], written):
            yield samples
        written.seek(0)
        samples += [float(line) / 100 for line in written if line.strip().isdigit()]


@contextmanager
def _running(command: list[str], output: IO[str]) -> Iterator[None]:
    with subprocess.Popen(command, stdout=output) as process:
        try:
            yield
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
