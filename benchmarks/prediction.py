"""What the library promised of the trials of the search benchmark, and what they measured:
`python -m benchmarks.prediction` after `python -m benchmarks.search`.
"""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from benchmarks.record import Record
from benchmarks.search import BUDGETS, KEYS

Row = dict[str, Any]

_DRAWN = {"pareconv": "o", "random": "x"}  # who has a library


def main() -> None:
    Console().print(table(Record("search", KEYS).rows))


def table(rows: list[Row]) -> Table:
    """Rank correlation of the promised score with the measured error."""
    shown = Table("trials", "number", "Spearman's rho")
    for budget in BUDGETS:
        _add(shown, f"at {budget:.0%} of the FLOPs", points(rows, budget))
    _add(shown, "all", [point for budget in BUDGETS for point in points(rows, budget)])
    shown.caption = (
        "of the predicted KL with the error of the brief trial, over all seeds; trials that were "
        "stopped early are left out"
    )
    return shown


def points(
    rows: list[Row], budget: float, methods: tuple[str, ...] = tuple(_DRAWN)
) -> list[tuple[float, float]]:
    """(predicted KL, error of the brief trial) of every complete trial that has a prediction."""
    return [
        (trial["predicted"], 1 - trial["accuracy"])
        for row in rows
        if row["method"] in methods and row["flops_ratio_budget"] == budget
        for trial in row["predicted"]
    ]


def plot(rows: list[Row], path: Path) -> None:
    """Draw them, budgets by colour and methods by mark."""
    figure, axes = plt.subplots(figsize=(7, 5))
    for colour, budget in enumerate(BUDGETS):
        for method, mark in _DRAWN.items():
            found = points(rows, budget, (method,))
            label = f"{method}, {budget:.0%}"
            if found:
                axes.scatter(
                    *zip(*found, strict=True), color=f"C{colour}", marker=mark, label=label
                )
    axes.set_xscale("log")
    axes.set_xlabel("predicted: summed KL of the options")
    axes.set_ylabel("measured: error of the brief trial on validation")
    axes.legend(title="share of the FLOPs")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Neither date nor random ids, so that the same results give the same file.
    with plt.rc_context({"svg.hashsalt": "pareconv"}):
        figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _add(shown: Table, name: str, found: list[tuple[float, float]]) -> None:
    if len(found) > 2:
        rho = spearmanr(*zip(*found, strict=True)).statistic
        shown.add_row(name, str(len(found)), f"{rho:.2f}")


if __name__ == "__main__":
    main()
