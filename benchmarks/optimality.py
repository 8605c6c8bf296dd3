"""Whether the search finds what is best: `python -m benchmarks.optimality`.

A ResNet-8 with three options beside `keep` for its stem and its three blocks: all 255 plans are
tried once and kept. Searches are then replayed on what they gave, seed by seed.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import optuna
from rich.console import Console
from rich.table import Table

from benchmarks import jobs
from benchmarks.planned import Task, try_all
from benchmarks.pool import single_threaded
from benchmarks.record import Record
from benchmarks.setting import DATA, require_data, spec
from pareconv.models.cost_table import Cost, CostTable
from pareconv.models.plan import KEEP, Option, Plan
from pareconv.search.proposals import Problem, Proposer
from pareconv.search.seeding import solver_plans
from pareconv.search.solver import Solver
from pareconv.search.trial import Trial, run_trial

Row = dict[str, Any]

_IMAGES = 2000
_SPREAD = (1 / 3, 2 / 3, 1.0)  # of the way to the cheapest option of a block
_BUDGET = 0.5
_TRIALS = 20
_SEEDS = range(10)
_CHANCE = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--home", type=Path, default=Path("build/bench-optimality"))
    arguments = parser.parse_args()
    require_data()
    record = Record("optimality", ("number",))
    with single_threaded(arguments.processes) as pool:
        tasks = pool.submit(_tasks, arguments.home).result()
        try_all(tasks, _row, record, pool)
    Console().print(table(record.rows))


def table(rows: list[Row]) -> Table:
    """How often, and after how many trials, each search found a plan within noise of the best."""
    space = Space.of(rows)
    shown = Table("search", "found", "after trials", *(f"volume at {n}" for n in (5, 10, 20)))
    for name in SEARCHES:
        runs = [list(SEARCHES[name](space, seed)) for seed in _SEEDS]
        after = [found for run in runs if (found := space.found_after(run)) is not None]
        volumes = [[space.volume(run[:n]) for run in runs] for n in (5, 10, 20)]
        shown.add_row(
            name,
            f"{len(after)} of {len(runs)}",
            f"{fmean(after):.1f}, at most {max(after)}" if after else "",
            *(f"{fmean(each):.3f} ± {stdev(each):.3f}" for each in volumes),
        )
    best = space.best
    shown.caption = (
        f"{len(space.within)} plans within {_BUDGET:.0%} of the FLOPs, the best "
        f"{best.accuracy:.4f} ± {best.stderr:.4f}; hypervolume over that of all plans; "
        f"{len(_SEEDS)} seeds, of which the first {_TRIALS // 2} plans of Pareconv do not depend"
    )
    return shown


@dataclass(frozen=True)
class Measured:
    """What trying a plan gave; `share` of the teacher's FLOPs, accuracies 0..1."""

    share: float
    accuracy: float
    stderr: float


@dataclass(frozen=True)
class Space:
    """Everything that can be tried, and what the library predicts."""

    table: CostTable
    scores: Mapping[str, Mapping[Option, float]]
    measured: Mapping[Plan, Measured]

    @classmethod
    def of(cls, rows: list[Row]) -> "Space":
        space = next(row["space"] for row in rows if "space" in row)
        changes = {
            block: {Option.parse(option): Cost.from_json(cost) for option, cost in options.items()}
            for block, options in space["changes"].items()
        }
        scores = {
            block: {Option.parse(option): score for option, score in options.items()}
            for block, options in space["scores"].items()
        }
        measured = {
            Plan.from_json(row["plan"]): Measured(
                row["flops_ratio"], row["accuracy"], row["accuracy_stderr"]
            )
            for row in rows
        }
        return cls(CostTable(Cost.from_json(space["teacher"]), changes), scores, measured)

    @property
    def within(self) -> dict[Plan, Measured]:
        return {plan: each for plan, each in self.measured.items() if each.share <= _BUDGET}

    @property
    def best(self) -> Measured:
        return max(self.within.values(), key=lambda each: each.accuracy)

    def problem(self, seed: int, sampler: str = "tpe") -> Problem:
        limits = {"flops": int(_BUDGET * self.table.teacher.flops)}
        return Problem(self.table, limits, "flops", sampler, _TRIALS, seed)

    def found_after(self, run: list[Plan]) -> int | None:
        """After how many trials a plan was found whose accuracy is within one standard error of
        the best's.
        """
        least = self.best.accuracy - self.best.stderr
        hits = (n for n, plan in enumerate(run, 1) if self.measured[plan].accuracy >= least)
        return next(hits, None)

    def volume(self, run: list[Plan]) -> float:
        """Hypervolume of the plans in (FLOPs, accuracy) over that of all within the budget."""
        every = _volume(list(self.within.values()))
        return _volume([self.measured[plan] for plan in run]) / every


def _volume(points: list[Measured]) -> float:
    """Area that the points dominate, up to the budget and down to chance."""
    area, reached = 0.0, _CHANCE
    for point in sorted(points, key=lambda each: each.share):
        if point.accuracy > reached:
            area += (_BUDGET - point.share) * (point.accuracy - reached)
            reached = point.accuracy
    return area


def _ours(space: Space, seed: int) -> Iterator[Plan]:
    problem = space.problem(seed)
    return _proposed(space, problem, solver_plans(problem, Solver(space.table, space.scores)))


def _multivariate(space: Space, seed: int) -> Iterator[Plan]:
    return _proposed(space, space.problem(seed), [])


def _random(space: Space, seed: int) -> Iterator[Plan]:
    return _proposed(space, space.problem(seed, "random"), [])


def _proposed(space: Space, problem: Problem, first: list[Plan]) -> Iterator[Plan]:
    proposer, tried = Proposer(problem, first), set[Plan]()
    while len(tried) < _TRIALS and (plan := proposer.propose(len(tried), tried)) is not None:
        tried.add(plan)
        proposer.observe(plan, space.measured[plan].accuracy)
        yield plan


def _default(space: Space, seed: int) -> Iterator[Plan]:
    """A study with two objectives and Optuna's own sampler for them. What is over the budget is
    told as pruned and counts as no trial; a plan that comes again does.
    """
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=_default_sampler(seed))
    problem, tried = space.problem(seed), 0
    while tried < _TRIALS:
        trial = study.ask(fixed_distributions=problem.distributions)
        plan = Plan.from_json(trial.params)
        if not problem.fits(plan):
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            continue
        study.tell(trial, [space.measured[plan].accuracy, space.measured[plan].share])
        tried += 1
        yield plan


def _default_sampler(seed: int) -> optuna.samplers.BaseSampler:
    """Seeded, otherwise what a study of several objectives takes."""
    chosen = optuna.create_study(directions=["maximize", "minimize"]).sampler
    return type(chosen)(seed=seed)


SEARCHES = {
    "Pareconv": _ours,
    "multivariate TPE": _multivariate,
    "Optuna's default": _default,
    "random": _random,
}


def _tasks(home: Path) -> list[Task]:
    """Train the teacher, build the library, choose the options."""
    asked = spec(
        _BUDGET,
        0,
        teacher={"architecture": "cifar_resnet8", "training": {"epochs": 8}},
        dataset={"source": f"file:{DATA}", "validation_fraction": 0.1},
        search={"trials": 1, "repeats": 0, "stop_early": False},
        distill={"epochs": _IMAGES / 45_000},
        finish={"finalists": 0},
    )
    done = jobs.run(home, asked)
    table = _spread(done.prepared.scored)
    found = {(entry.block, entry.option): entry.score for entry in done.entries}
    scores = {
        block: {str(option): found[block, str(option)] for option in options if option != KEEP}
        for block, options in table.changes.items()
    }
    space = {
        "teacher": table.teacher.to_json(),
        "changes": {
            block: {str(option): change.to_json() for option, change in options.items()}
            for block, options in table.changes.items()
        },
        "scores": scores,
    }
    plans = [
        Plan(dict(zip(table.changes, options, strict=True)))
        for options in product(*table.changes.values())
    ]
    plans = [plan for plan in plans if plan]  # the teacher is no plan
    return [
        Task(
            {"number": number},
            plan,
            done.prepared.weights(plan),
            {"flops_ratio": table.cost(plan).flops / table.teacher.flops}
            # Once is enough.
            | ({"space": space, "teacher": done.profiled.profile["teacher"]} if not number else {}),
            done.profiled,
            home,
        )
        for number, plan in enumerate(plans)
    ]


def _spread(table: CostTable) -> CostTable:
    """For each block the options whose savings are nearest to the shares of the greatest."""
    chosen = {}
    for block, options in table.changes.items():
        changes = {option: change for option, change in options.items() if option != KEEP}
        most = min(change.flops for change in changes.values())
        nearest: dict[Option, Cost] = {KEEP: Cost()}
        for share in _SPREAD:
            rest = [option for option in changes if option not in nearest]
            option = min(rest, key=lambda each: abs(changes[each].flops - share * most))
            nearest[option] = changes[option]
        chosen[block] = nearest
    return replace(table, changes=chosen)


def _row(task: Task) -> Row:
    bench, files = jobs.reopen(task.home, task.profiled)
    found = run_trial(bench, Trial(task.plan, task.weights), files)
    return {key: found[key] for key in ("accuracy", "accuracy_stderr", "images", "seconds")}


if __name__ == "__main__":
    main()
