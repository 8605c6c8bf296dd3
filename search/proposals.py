"""Proposals: which plan to try next. Optuna decides here; knows no database and trains nothing."""

import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState, create_trial

from pareconv.models.cost_table import Cost, CostTable, Quantity
from pareconv.models.plan import KEEP, Option, Plan
from pareconv.search.seeds import derived

_TRIES_PER_PLAN = 200


@dataclass(frozen=True)
class Problem:
    """What is searched: the cost table, the budget (quantity -> limit), what is traded for
    accuracy, and the least accuracy that is of use, where one is asked for.
    """

    table: CostTable
    limits: Mapping[Quantity, float]
    objective: Quantity
    sampler: str
    trials: int
    seed: int
    least_accuracy: float | None = None

    @cached_property
    def distributions(self) -> dict[str, BaseDistribution]:
        """One flat categorical per block: conditional parameters would take away what TPE learns
        jointly.
        """
        return {
            block: CategoricalDistribution([str(option) for option in options])
            for block, options in self.table.changes.items()
        }

    def violations(self, cost: Cost) -> dict[Quantity, float]:
        """Quantity -> share by which `cost` is over the budget; at most 0 is within."""
        return {name: cost.quantity(name) / limit - 1 for name, limit in self.limits.items()}

    def constraints(self, cost: Cost, accuracy: float | None = None) -> dict[str, float]:
        """The violations as Optuna takes them, with what the accuracy lacks, as far as known."""
        found = {str(name): excess for name, excess in self.violations(cost).items()}
        if self.least_accuracy is not None and accuracy is not None:
            found["accuracy"] = self.least_accuracy - accuracy
        return found

    def fits(self, plan: Plan) -> bool:
        return all(excess <= 0 for excess in self.violations(self.table.cost(plan)).values())

    def has(self, plan: Plan) -> bool:
        """Whether the plan is of this space."""
        changes = self.table.changes
        return all(option in changes.get(block, {}) for block, option in plan.items())

    def params_of(self, plan: Plan) -> dict[str, str]:
        """The plan as a trial's parameters: every block, `keep` included."""
        return {block: str(plan.get(block, KEEP)) for block in self.table.changes}


class Proposer:
    """Asks a study in memory: nothing is written, and a proposal that is dropped teaches nothing.

    A proposal depends on the seed, its number and what was observed before it, so that a search
    that was interrupted goes on as it would have gone.
    """

    def __init__(self, problem: Problem, first: Sequence[Plan]) -> None:
        """`first` are proposed before any other, as far as they were not tried."""
        self._problem = problem
        self._study = optuna.create_study(directions=["maximize", "minimize"])
        self._first = first

    @property
    def limits(self) -> Mapping[Quantity, float]:
        """The budget within which it proposes."""
        return self._problem.limits

    def observe(self, plan: Plan, accuracy: float) -> None:
        """A complete candidate: what the next proposals learn from. One with an option that is not
        searched, which a library may have given up since, teaches nothing.
        """
        if not self._problem.has(plan):
            return
        cost = self._problem.table.cost(plan)
        self._study.add_trial(
            create_trial(
                params=self._problem.params_of(plan),
                distributions=self._problem.distributions,
                values=[accuracy, cost.quantity(self._problem.objective)],
                constraints=self._problem.constraints(cost, accuracy),
            )
        )

    def propose(self, number: int, tried: set[Plan]) -> Plan | None:
        """A plan within the budget that is not in `tried`; None if none was found."""
        fresh = (plan for plan in self._candidates(number) if plan and plan not in tried)
        return next(fresh, None)

    def _candidates(self, number: int) -> Iterator[Plan]:
        yield from self._first
        for attempt in range(_TRIES_PER_PLAN):
            seed = derived(self._problem.seed, "proposal", number, attempt)
            plan = repaired(self._asked(seed), self._problem, random.Random(seed))
            if plan is not None:
                yield plan

    def _asked(self, seed: int) -> Plan:
        self._study.sampler = _sampler(self._problem, seed)
        trial = self._study.ask(fixed_distributions=self._problem.distributions)
        # Failed trials teach no sampler anything, and unlike running ones they repel none.
        self._study.tell(trial, state=TrialState.FAIL)
        return Plan.from_json(trial.params)


def _sampler(problem: Problem, seed: int) -> optuna.samplers.BaseSampler:
    if problem.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            multivariate=True,
            constant_liar=True,
            n_startup_trials=min(10, max(4, problem.trials // 4)),
            seed=seed,
        )


def uniform_plans(problem: Problem) -> list[Plan]:
    """A first view of a space of which nothing is known: uniform plans, those that use most of the
    budget first.

    They take at most half of the trials, so that a short search still learns from what it saw.
    """
    plans = sorted(
        _mildest_uniform(problem),
        key=lambda plan: -problem.table.cost(plan).quantity(problem.objective),
    )
    return plans[: problem.trials // 2]


def _mildest_uniform(problem: Problem) -> Iterator[Plan]:
    """One operator everywhere at its mildest setting within the budget, for each operator."""
    changes = problem.table.changes
    options = dict.fromkeys(
        option for choices in changes.values() for option in choices if option != KEEP
    )
    for operator in dict.fromkeys(option.operator for option in options):
        plans = [
            Plan({block: option for block, choices in changes.items() if option in choices})
            for option in options
            if option.operator == operator
        ]
        fitting = [plan for plan in plans if problem.fits(plan)]
        if fitting:
            yield max(
                fitting, key=lambda plan: problem.table.cost(plan).quantity(problem.objective)
            )


def repaired(plan: Plan, problem: Problem, chance: random.Random) -> Plan | None:
    """`plan` with blocks made cheaper, in random order, until it is within the budget; None if it
    cannot be.
    """
    blocks = list(problem.table.changes)
    chance.shuffle(blocks)
    while not problem.fits(plan):
        for block in blocks:
            cheaper = _cheaper(plan, block, problem)
            if cheaper:
                plan = Plan({**plan, block: chance.choice(cheaper)})
                break
        else:
            return None
        blocks.append(blocks.pop(blocks.index(block)))  # each block gives way before one does twice
    return plan


def _cheaper(plan: Plan, block: str, problem: Problem) -> Sequence[Option]:
    """Options of `block` below its present one in a quantity that is over the budget, and dearer in
    no limited one: two budgets could undo each other for ever.
    """
    violations = problem.violations(problem.table.cost(plan))
    over = [name for name, excess in violations.items() if excess > 0]
    choices = problem.table.changes[block]
    present = choices[plan.get(block, KEEP)]
    return [
        option
        for option, change in choices.items()
        if all(change.quantity(name) <= present.quantity(name) for name in violations)
        and any(change.quantity(name) < present.quantity(name) for name in over)
    ]
