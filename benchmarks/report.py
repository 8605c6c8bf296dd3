"""Write docs/results.md and the figures of all documents from what the benchmarks recorded:
`python -m benchmarks.report`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import (
    adder,
    anatomy,
    any_model,
    faults,
    fidelity,
    latency,
    latency_budget,
    long_tail,
    methods,
    muon,
    openapi,
    operators,
    optimality,
    pages,
    prediction,
    resnet56,
    scale,
    search,
    speed,
    what_if,
)
from benchmarks import load as server_load
from benchmarks.record import RESULTS, load

Row = dict[str, Any]

_DOCS = Path(__file__).parents[1] / "docs"
_FIGURE = Path("figures/prediction.svg")


@dataclass(frozen=True)
class Section:
    """A benchmark's part of the report."""

    title: str
    results: str
    table: Callable[[list[Row]], Table]
    text: str
    figure: Path | None = None


SECTIONS = (
    Section(
        "The same compute for everyone",
        "search",
        search.table,
        "Students of the ResNet-20 teacher on CIFAR-10 as JPEG, on its 10,000 test images. Every "
        "row may spend as much as 150,000 forward passes of one image through the teacher, its "
        "library, its trials and its finish included; all are finished by the same distillation "
        "(`benchmarks/contenders.py`).\n\n"
        "- `pareconv`: library (closed forms as they are, scored on 64 images), solver, two "
        "trials.\n"
        "- `optuna`: the same program without library and solver, twelve trials from cold starts.\n"
        "- `random`: twelve random plans from the library.\n"
        "- `torch_pruning`, `model_optimizer`: Torch-Pruning 1.6.1 and FastNAS of NVIDIA Model "
        "Optimizer 0.47 (`benchmarks/peers/`).\n"
        "- `uniform`: one operator everywhere, the best of ours by a brief trial of each.\n"
        "- `uniform_given`: the same where it is known beforehand which operator that is: a bound, "
        "since choosing it is not counted.",
    ),
    Section(
        "By how much Pareconv is ahead",
        "search",
        search.lead,
        "Of the same rows.",
    ),
    Section(
        "Predicted against measured",
        "search",
        prediction.table,
        "What the library promised of the trials of the benchmark above, and what they measured.",
        _FIGURE,
    ),
    Section(
        "Whether a brief trial tells which plan is better",
        "fidelity",
        fidelity.table,
        "Random plans of scored options, spread over the space of the same teacher; each briefly "
        "trained, then with ten times as many images in two orders.",
    ),
    Section(
        "Whether the search finds the best",
        "optimality",
        optimality.table,
        "A ResNet-8, its stem and three blocks with three options and `keep` each: all 255 plans "
        "tried once, searches of 20 trials replayed on that.",
    ),
    Section(
        "What a finished library is worth to the next job",
        "what_if",
        what_if.table,
        "A job at 30 % of the FLOPs that finds the library of one at 50 %: how much of the compute "
        "of a fresh job (library and search) it takes to have a trial as accurate as the fresh "
        "job's best, and to be within a standard error of that; and how long the service takes to "
        "predict the front at a budget that nobody has asked for.",
    ),
    Section(
        "What each operator is worth",
        "operators",
        operators.table,
        "One option in every block of the ResNet-20 teacher that takes it, the stem aside, its new "
        "layers drawn at random, from closed forms, or distilled block by block; each student then "
        "taught with 10,000 images (`features`) and tested.",
    ),
    Section(
        "What each method is worth, given the trained teacher",
        "methods",
        partial(methods.table, teacher="trained"),
        "OD's depthwise student of the ResNet-20 teacher, from a library, taught with the same "
        "number of images by each method with its defaults (`labels` looks at no teacher).",
    ),
    Section(
        "What each method is worth without a trained teacher",
        "methods",
        partial(methods.table, teacher="none"),
        "The same student from random weights, by methods that build their teacher as they go, and "
        "by labels alone.",
    ),
    Section(
        "Rare classes",
        "long_tail",
        long_tail.table,
        "CIFAR-10 as JPEG with an exponential imbalance of 0.01. The ResNet-20 teacher is trained "
        "on that until it is biased; a depthwise student of it, from closed forms, is taught by "
        "each method with the same images.",
    ),
    Section(
        "A network of adder layers",
        "adder",
        adder.table,
        "A ResNet-8 whose convolutions but the stem are adder layers, from random weights, on "
        "scikit-learn's digits at 16 pixels.",
    ),
    Section(
        "Predicted latencies",
        "latency",
        latency.table,
        "Thirty random plans of ResNet-18 at 64 pixels, from few blocks rebuilt to nearly all: the "
        "sum over their parts, timed alone, against the whole student, one image at a time.",
    ),
    Section(
        "A latency budget",
        "latency_budget",
        latency_budget.table,
        "A job for ResNet-18 at 64 pixels with 60 % of the teacher's latency as its budget: its "
        "finalist, timed whole in turns with the teacher. Both are trained briefly.",
    ),
    Section(
        "Any model in, a model that stands alone out",
        "any_model",
        any_model.table,
        "Jobs by REST on a tenth of CIFAR-10 as JPEG, sent as a tar: networks of torchvision by "
        "name, and ONNX files that others made. The budget is two fifths of the way from the least "
        "that can be reached. Teachers are trained for a few epochs and students for less: what "
        "counts is that every step works, and that downloaded files compute the same.",
    ),
    Section(
        "What a deployment survives",
        "faults",
        faults.table,
        "Real jobs of some seconds on digits. `kills`: server, worker, task and database "
        "connections are killed at random moments, two jobs at a time. `claims`: a thousand jobs, "
        "eight processes. `sleeper`: a worker is stopped until another has done its job, then "
        "woken. `database away`: for half a minute, amid two jobs. `disk full`: the job fails, and "
        "goes on when there is room.",
    ),
    Section(
        "Whatever the API's description allows",
        "openapi",
        openapi.table,
        "Requests that schemathesis makes from the OpenAPI document, right and wrong ones, to a "
        "real server.",
    ),
    Section(
        "The precision of Muon",
        "muon",
        muon.table,
        "Students of the ResNet-20 with a quarter of the rank everywhere, taught with 8,000 images "
        "from a closed form, on one thread: Muon's iteration in bfloat16, as torch's own does it, "
        "and in float32, which is taken where the processor has no instructions for bfloat16.",
    ),
    Section(
        "Where the time goes",
        "speed",
        speed.table,
        "The library of the same teacher with two rungs, and a trial, part by part, and how far "
        "both are from their floor: the compute that is counted, at the rate at which the "
        "teacher's own forward pass does it.",
    ),
    Section(
        "What a server bears",
        "load",
        server_load.table,
        "Clients of other processes against one server on loopback. `fronts`: 50 clients that ask "
        "once a second for the front of a study of 10,000 trials, which gets a new one every two "
        "seconds, and as often for `/healthz`, beside a worker that has small real jobs without a "
        "pause; half of them send the `ETag` back. `jobs that wait`: the first and the last page "
        "of 1,000 jobs. `events`: 200 clients that follow one job; an answer is an event, its time "
        "that since it was written.",
    ),
    Section(
        "How soon a page is seen",
        "pages",
        pages.table,
        "The page of a job of ten trials and of one of ten thousand, opened in turns by a Chromium "
        "on the same machine as the server, with an empty cache.",
    ),
    Section(
        "How a job scales out",
        "scale",
        scale.throughput,
        "Trials replaced by a task that sleeps; the coordinator, the executor with its processes, "
        "the database and the dashboard's study as in any job. Ray with as many processes on the "
        "same machine.",
    ),
    Section(
        "What a trial costs the coordinator",
        "scale",
        scale.cost,
        "Trials that take no time, one after another: from one to the next it asks the sampler, "
        "sends a task there and back, tells the sampler, and writes to both studies.",
    ),
    Section(
        "A ResNet-56 at 2.1 times fewer FLOPs",
        "resnet56",
        resnet56.table,
        "Trained, searched at conv granularity and finished for ten minutes on one device.",
    ),
)


def main() -> None:
    parts = [
        "# Results",
        "Written by `python -m benchmarks.report`; numbers in `benchmarks/results/`.",
    ]
    for section in SECTIONS:
        if (RESULTS / f"{section.results}.json").exists():
            parts += _written(section)
    (_DOCS / "results.md").write_text("\n\n".join(parts) + "\n")
    anatomy.draw()


def _written(section: Section) -> list[str]:
    content = load(section.results)
    rows = content["rows"]
    parts = [f"## {section.title}", section.text, _markdown(section.table(rows))]
    if section.figure is not None:
        prediction.plot(rows, _DOCS / section.figure)
        parts.append(f"![{section.title}]({section.figure})")
    machine = content["machine"]
    torch = content["versions"]["torch"]
    commits = ", ".join(sorted({row["commit"] for row in rows}))
    parts.append(
        f"`{content['command']}`, commit {commits}, {content['date'][:10]}, "
        f"{machine['processor']}, {machine['cores']} cores, torch {torch}."
    )
    return parts


def _markdown(table: Table) -> str:
    caption, table.caption, table.box = str(table.caption), None, box.MARKDOWN
    console = Console(width=1000)
    with console.capture() as written:
        console.print(table)
    lines = [line.rstrip() for line in written.get().splitlines() if line.strip()]
    return "\n".join(lines) + f"\n\n{caption[0].upper()}{caption[1:]}."


if __name__ == "__main__":
    main()
