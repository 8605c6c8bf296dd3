"""Whether a brief trial tells which plan will be better: `python -m benchmarks.fidelity`.

Random plans spread over the space are scored briefly, from the library and from cold starts, and
taught with ten times as many images, twice in another order. Kendall's tau between scores and
what they shall foretell, beside how well the second long training agrees with the first, which is
called the ceiling here.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import bootstrap, kendalltau

from benchmarks import jobs
from benchmarks.planned import Task, try_all
from benchmarks.pool import single_threaded
from benchmarks.record import Record
from benchmarks.setting import require_data, spec
from pareconv.models.plan import Plan
from pareconv.search.chooser import problem_of
from pareconv.search.preparing import Prepared
from pareconv.search.proposals import Proposer
from pareconv.search.trial import Trial, run_trial

Row = dict[str, Any]
Places = NDArray[np.intp]
Scores = NDArray[np.float64]

_IMAGES, _TIMES_LONGER = (2000, 5000), 10
_SHARES = (0.12, 0.6)  # of the teacher's FLOPs, between which the plans are spread
_RESAMPLES = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", type=int, default=16)
    parser.add_argument("--images", nargs="+", type=int, default=_IMAGES, help="of a brief trial")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--home", type=Path, default=Path("build/bench-fidelity"))
    arguments = parser.parse_args()
    require_data()
    record = Record("fidelity", ("brief_images", "number"))
    with single_threaded(arguments.processes) as pool:
        for images in arguments.images:
            tasks = pool.submit(_tasks, arguments.plans, images, arguments.home).result()
            try_all(tasks, _row, record, pool)
    Console().print(table(record.rows))


def table(rows: list[Row]) -> Table:
    """Kendall's tau of every score with the long trainings, beside their own with each other."""
    interval = "95 % interval"
    shown = Table(
        "images", "plans", "score", "Kendall's tau", interval, "share of the ceiling", interval
    )
    for images in sorted({row["brief_images"] for row in rows}):
        chosen = [row for row in rows if row["brief_images"] == images]
        for name, tau, share in taus(chosen):
            shown.add_row(f"{images:,}", str(len(chosen)), name, *tau.shown(), *share.shown())
    shown.caption = "Images of a brief trial; intervals by bootstrap over the plans"
    return shown


@dataclass(frozen=True)
class Estimate:
    """A statistic of all plans and its 95 % interval over resampled ones."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, statistic: Callable[[Places], float], plans: int) -> "Estimate":
        places = np.arange(plans)
        found = bootstrap(
            (places,),
            statistic,
            vectorized=False,
            method="percentile",
            n_resamples=_RESAMPLES,
            rng=0,
        ).confidence_interval
        return cls(statistic(places), float(found.low), float(found.high))

    def shown(self) -> tuple[str, str]:
        return f"{self.value:.2f}", f"{self.low:.2f} to {self.high:.2f}"


_SCORES = {
    "brief": "brief trial from the library",
    "cold": "brief trial from a cold start",
    "promised": "the library's prediction alone",
    "flops_ratio": "FLOPs alone",
}


def taus(rows: list[Row]) -> list[tuple[str, Estimate, Estimate]]:
    """(score, its tau, its share of the ceiling)."""
    long = np.array([row["long"] for row in rows])

    def ceiling(chosen: Places) -> float:
        return float(kendalltau(*long[chosen].T).statistic)

    found = []
    for key, name in _SCORES.items():
        scores = np.array([row[key] for row in rows], dtype=float)

        def tau(chosen: Places, scores: Scores = scores) -> float:
            each = [kendalltau(scores[chosen], one[chosen]).statistic for one in long.T]
            return float(np.mean(each))

        def share(chosen: Places, tau: Callable[[Places], float] = tau) -> float:
            return tau(chosen) / ceiling(chosen)

        found.append((name, Estimate.of(tau, len(rows)), Estimate.of(share, len(rows))))
    one = Estimate(1.0, 1.0, 1.0)
    return [*found, ("the other long training", Estimate.of(ceiling, len(rows)), one)]


def _tasks(plans: int, images: int, home: Path) -> list[Task]:
    """Build the library and draw the plans, of options that it has scored."""
    asked = spec(
        _SHARES[1],
        0,
        search={"granularity": "conv", "trials": 1, "repeats": 0, "stop_early": False},
        distill={"epochs": images / 49_000},
        finish={"finalists": 0},
    )
    done = jobs.run(home, asked)
    prepared = done.prepared
    problem = replace(problem_of(done.profiled, prepared), sampler="random")
    table = problem.table
    drawn: list[Plan] = []
    for number, share in enumerate(np.linspace(*_SHARES, plans)):
        within = replace(problem, limits={"flops": int(share * table.teacher.flops)})
        plan = Proposer(within, []).propose(number, set(drawn))
        assert plan is not None
        drawn.append(plan)
    return [
        Task(
            {"brief_images": images, "number": number},
            plan,
            prepared.weights(plan),
            {
                # More is better, as it is of the others.
                "promised": -_predicted(prepared, plan),
                "flops_ratio": table.cost(plan).flops / table.teacher.flops,
            },
            done.profiled,
            home,
        )
        for number, plan in enumerate(drawn)
    ]


def _predicted(prepared: Prepared, plan: Plan) -> float:
    score = prepared.solver.predict(plan)
    assert score is not None  # of scored options
    return score


def _row(task: Task) -> Row:
    bench, files = jobs.reopen(task.home, task.profiled)
    distill = bench.spec.distill
    longer = distill.model_copy(update={"epochs": _TIMES_LONGER * distill.epochs})
    long = replace(bench, spec=bench.spec.model_copy(update={"distill": longer}))
    brief = run_trial(bench, Trial(task.plan, task.weights), files)
    cold = run_trial(bench, Trial(task.plan), files)
    finals = [run_trial(long, Trial(task.plan, task.weights, attempt=n), files) for n in (1, 2)]
    return {
        "brief": brief["accuracy"],
        "cold": cold["accuracy"],
        "long": [each["accuracy"] for each in finals],
        "validation_images": len(bench.validation),
    }


if __name__ == "__main__":
    main()
