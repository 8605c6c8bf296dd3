"""One small job looked at: what its library holds and promises, and what its trials measured:
`python -m benchmarks.anatomy`. Also draws the pictures of docs/how-it-works.md and of the README.
"""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks.record import Record, load
from pareconv.service.client import Client
from pareconv.service.demo import running_server
from pareconv.service.remote.job import Job
from pareconv.storage.candidate_states import CandidateState

Row = dict[str, Any]

SPEC: Row = {
    "teacher": {"architecture": "cifar_resnet8", "training": {"epochs": 8}},
    "dataset": {"source": "digits", "image_size": 16},
    "budget": {"flops": "60%"},
    "search": {"trials": 24},
    "distill": {"epochs": 0.5},
    "finish": {"finalists": 0},
    "seed": 0,
}
_FIGURES = Path(__file__).parents[1] / "docs" / "figures"
_SHOWN = {"score", "flops", "option", "block"}
_BUDGET = "FLOPs, % of the teacher's"


def main() -> None:
    record = Record("anatomy", ("seed",))
    if not record.has(seed=SPEC["seed"]):
        record.add(_row(Path("build/bench-anatomy")))
    Console().print(table(record.rows))
    draw()


def _row(home: Path) -> Row:
    with running_server(home.absolute()) as client:
        job = client.jobs.create(SPEC).wait(on_event=lambda event: print(event.message, flush=True))
        return _seen(client, job)


def _seen(client: Client, job: Job) -> Row:
    assert job.library is not None
    assert job.teacher is not None
    library = client.libraries.get(job.library)
    predicted = client.libraries.front(job.library)
    return {
        "seed": SPEC["seed"],
        "spec": SPEC,
        "teacher": job.teacher.model_dump(mode="json"),
        "library": [each.model_dump(include=_SHOWN) for each in library.entries],
        "predicted": [each.model_dump() for each in predicted.points],
        "trials": [
            each.model_dump(include={"trial", "accuracy", "flops"})
            for each in job.trials()
            if each.state is CandidateState.COMPLETE
        ],
        "front": [each.trial for each in job.front().points],
    }


def table(rows: list[Row]) -> Table:
    """How many options there are, how many were scored, and how many trials were complete."""
    shown = Table("options", "scored", "trials", "on the front")
    for row in rows:
        scored = [each for each in row["library"] if each["score"] is not None]
        counts = (row["library"], scored, row["trials"], row["front"])
        shown.add_row(*(str(len(each)) for each in counts))
    shown.caption = "a ResNet-8 on digits of 16 pixels"
    return shown


def draw() -> None:
    """All pictures, from what is recorded here and from the job of the README (`front.json`)."""
    [row] = load("anatomy")["rows"]
    _library(row, _FIGURES / "library.svg")
    _search(row, _FIGURES / "search.svg")
    _front(load("front")["rows"], _FIGURES / "front.svg")


def _library(row: Row, path: Path) -> None:
    """What each option of each block does to the teacher, over what it saves."""
    figure, axes = plt.subplots(figsize=(7, 4))
    whole = row["teacher"]["flops"]
    for block in dict.fromkeys(each["block"] for each in row["library"]):
        found = [e for e in row["library"] if e["block"] == block and e["score"] is not None]
        saved, scores = [-100 * e["flops"] / whole for e in found], [e["score"] for e in found]
        axes.scatter(saved, scores, s=22, label=block)
    axes.set_yscale("log")
    axes.set_xlabel("saves, % of the teacher's FLOPs")
    axes.set_ylabel("score: KL(teacher || student)")
    axes.legend(title="block", frameon=False)
    _save(figure, [axes], path)


def _search(row: Row, path: Path) -> None:
    """What the library promises at each cost, and what trials measured there."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(7, 6), sharex=True)
    points, whole = row["predicted"], row["teacher"]["flops"]
    costs = [100 * each["flops_ratio"] for each in points]
    above.plot(costs, [each["score"] for each in points], "o-", ms=3, color="C0")
    above.set_yscale("symlog", linthresh=0.01)
    above.set_ylabel("promised: summed score")
    trials = row["trials"]
    seen = below.scatter(
        [100 * each["flops"] / whole for each in trials],
        [100 * each["accuracy"] for each in trials],
        c=[each["trial"] for each in trials],
        cmap="viridis",
        s=28,
    )
    front = sorted(
        (100 * each["flops"] / whole, 100 * each["accuracy"])
        for each in trials
        if each["trial"] in row["front"]
    )
    below.step(*zip(*front, strict=True), where="post", color="C1", label="front")
    below.set_xlabel(_BUDGET)
    below.set_ylabel("measured: validation accuracy, %")
    below.legend(frameon=False, loc="lower right")
    figure.colorbar(seen, ax=[above, below], label="trial", format="%d")
    _save(figure, [above, below], path, is_tight=False)


def _front(rows: list[Row], path: Path) -> None:
    """A job's front: brief accuracies with their errors, and finalists after their finish."""
    figure, axes = plt.subplots(figsize=(7, 3.6))
    [teacher] = [row for row in rows if row["trial"] is None]
    trials = [row for row in rows if row["trial"] is not None]
    costs = [100 * row["flops"] / teacher["flops"] for row in trials]
    axes.errorbar(
        costs,
        [row["validation"] for row in trials],
        [row["stderr"] for row in trials],
        fmt="o-",
        capsize=3,
        label="front: validation, brief training",
    )
    for mark, key, label in (
        ("s", "finished", "validation, after finishing"),
        ("D", "test", "test, measured once"),
    ):
        done = [(c, row[key]) for c, row in zip(costs, trials, strict=True) if row[key]]
        axes.plot(*zip(*done, strict=True), mark, ls="--", label=label)
    axes.plot([100], [teacher["validation"]], "*", ms=13, color="C0", label="teacher: validation")
    axes.plot([100], [teacher["test"]], "*", ms=13, color="C2", label="teacher: test")
    axes.axvline(50, color="grey", lw=1, ls=":")
    axes.annotate("budget", (50, 80), xytext=(4, 0), textcoords="offset points", color="grey")
    axes.set_xlabel(_BUDGET)
    axes.set_ylabel("accuracy, %")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    _save(figure, [axes], path)


def _save(figure: Figure, shown: list[Axes], path: Path, *, is_tight: bool = True) -> None:
    """On white, so that it is read in the dark as well; neither date nor random ids, so that the
    same results give the same file.
    """
    for axes in shown:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.9", lw=0.6)
        axes.set_axisbelow(True)
    if is_tight:
        figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    with plt.rc_context({"svg.hashsalt": "pareconv"}):
        figure.savefig(path, metadata={"Date": None}, facecolor="white")
    plt.close(figure)


if __name__ == "__main__":
    main()
