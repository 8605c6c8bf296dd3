"""Whether a brief trial tells which plan will be better: `python -m benchmarks.fidelity`.

Random plans spread over the space are scored briefly, from the library and from cold starts, and
taught with ten times as many images, twice in another order. Kendall's tau between scores and
what they shall foretell, beside that between the two long trainings, which nothing can surpass.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau

from benchmarks import jobs
from benchmarks.record import Record
from benchmarks.setting import require_data, spec
from pareconv.models.plan import Plan
from pareconv.search.proposals import Proposer
from pareconv.search.run import Profiled
from pareconv.search.study import problem_of
from pareconv.search.trial import Trial, run_trial
from pareconv.search.workbench import set_up

Row = dict[str, Any]

_IMAGES, _TIMES_LONGER = 2000, 10
_SHARES = (0.12, 0.6)  # of the teacher's FLOPs, between which the plans are spread
_RESAMPLES = 2000


@dataclass(frozen=True)
class Task:
    """A plan to be scored: its blocks' weights in the library, and what is known without them."""

    number: int
    plan: dict[str, str]
    weights: dict[str, str]
    known: Row
    profiled: Profiled
    home: Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", type=int, default=16)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--home", type=Path, default=Path("build/bench-fidelity"))
    arguments = parser.parse_args()
    require_data()
    os.environ["OMP_NUM_THREADS"] = "1"
    record = Record("fidelity", ("number",))
    context = get_context("spawn")
    with ProcessPoolExecutor(arguments.processes, mp_context=context) as pool:
        tasks = pool.submit(_tasks, arguments.plans, arguments.home).result()
        waiting = [task for task in tasks if not record.has(number=task.number)]
        for future in as_completed([pool.submit(_row, task) for task in waiting]):
            record.add(row := future.result())
            print(row, flush=True)
    Console().print(table(record.rows))


def table(rows: list[Row]) -> Table:
    """Kendall's tau of every score with the long trainings, beside their own with each other."""
    shown = Table("score", "Kendall's tau", "95 % interval", "share of the ceiling")
    for name, tau, (low, high), share in taus(rows):
        shown.add_row(name, f"{tau:.2f}", f"{low:.2f} to {high:.2f}", f"{share:.2f}")
    shown.caption = f"{len(rows)} plans; interval by bootstrap over the plans"
    return shown


def taus(rows: list[Row]) -> list[tuple[str, float, tuple[float, float], float]]:
    """(score, tau, its interval, its share of the ceiling)."""
    columns = {key: np.array([row[key] for row in rows], dtype=float) for key in _SCORES}
    long = np.array([row["long"] for row in rows])
    chance = np.random.default_rng(0)
    samples = chance.integers(len(rows), size=(_RESAMPLES, len(rows)))

    def tau(scores: Any, chosen: Any) -> float:
        """The mean over the two long trainings."""
        return float(np.mean([kendalltau(scores[chosen], one[chosen]).statistic for one in long.T]))

    def ceiling(chosen: Any) -> float:
        return float(kendalltau(*long[chosen].T).statistic)

    everyone = np.arange(len(rows))
    found = []
    for key, name in _SCORES.items():
        spread = [tau(columns[key], chosen) for chosen in samples]
        whole = tau(columns[key], everyone)
        found.append((name, whole, _interval(spread), whole / ceiling(everyone)))
    spread = [ceiling(chosen) for chosen in samples]
    return [*found, ("the ceiling", ceiling(everyone), _interval(spread), 1.0)]


_SCORES = {
    "brief": "brief trial from the library",
    "cold": "brief trial from a cold start",
    "promised": "the library's prediction alone",
}


def _interval(values: list[float]) -> tuple[float, float]:
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def _tasks(plans: int, home: Path) -> list[Task]:
    """Build the library and draw the plans, of options that it has scored."""
    asked = spec(
        _SHARES[1],
        0,
        search={"granularity": "conv", "trials": 1, "repeats": 0, "stop_early": False},
        distill={"epochs": _IMAGES / 49_000},
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
            number,
            plan.to_json(),
            prepared.weights(plan),
            {
                # More is better, as it is of the others.
                "promised": -(prepared.solver.predict(plan) or 0.0),
                "flops_ratio": table.cost(plan).flops / table.teacher.flops,
            },
            done.profiled,
            home,
        )
        for number, plan in enumerate(drawn)
    ]


def _row(task: Task) -> Row:
    bench = set_up(task.profiled.spec, task.profiled.profile["weights"])
    files = jobs.files(task.home)
    distill = bench.spec.distill
    longer = distill.model_copy(update={"epochs": _TIMES_LONGER * distill.epochs})
    long = replace(bench, spec=bench.spec.model_copy(update={"distill": longer}))
    plan = Plan.from_json(task.plan)
    brief = run_trial(bench, Trial(plan, task.weights), files)
    cold = run_trial(bench, Trial(plan), files)
    finals = [run_trial(long, Trial(plan, task.weights, attempt=n), files) for n in (1, 2)]
    return {
        "number": task.number,
        "plan": task.plan,
        **task.known,
        "brief": brief["accuracy"],
        "cold": cold["accuracy"],
        "long": [each["accuracy"] for each in finals],
        "images": [brief["images"], finals[0]["images"]],
        "validation_images": len(bench.validation),
    }


if __name__ == "__main__":
    main()
