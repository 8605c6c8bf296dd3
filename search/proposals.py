"""Proposals: which plan to try next. Optuna decides here; knows no database and trains nothing."""

import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from pareconv.models.cost_table import Cost, CostTable, Quantity
from pareconv.models.plan import KEEP, Option, Plan
from pareconv.search.seeds import derived
from pareconv.search.staircase import Staircase

# A sampler that knows much comes back to what it knows: so often it is asked, then what it says is
# varied, so often with one block, with two, and so on.
_TRIES_PER_PLAN = 20
_MOST_LOOKS = 1500  # at observations, for one proposal: the more there are the fewer questions
_VARIED_BLOCKS = 10

# A question takes time that grows with what was observed, and with how often it was asked before:
# of more observations than this half are forgotten, and after so many questions all of them.
_MOST_OBSERVED = 500
_MOST_ASKED = 1000


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
        self._first = first
        self._observed: list[FrozenTrial] = []
        self._room = _MOST_OBSERVED
        self._expected: dict[Plan, int] = {}
        self._renew()

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
        self._observed.append(
            create_trial(
                params=self._problem.params_of(plan),
                distributions=self._problem.distributions,
                values=[accuracy, cost.quantity(self._problem.objective)],
                constraints=self._problem.constraints(cost, accuracy),
            )
        )
        if len(self._observed) > self._room:
            self._observed = _worth_knowing(self._observed, _MOST_OBSERVED // 2)
            self._room = max(_MOST_OBSERVED, 2 * len(self._observed))
            self._renew()
        else:
            self._study.add_trial(self._observed[-1])

    def expect(self, plan: Plan) -> None:
        """A plan that is being tried: until it is expected no more, proposals keep away from it."""
        if self._problem.has(plan):
            self._study.add_trial(
                create_trial(
                    state=TrialState.RUNNING,
                    params=self._problem.params_of(plan),
                    distributions=self._problem.distributions,
                )
            )
            self._expected[plan] = len(self._study.get_trials(deepcopy=False)) - 1

    def expect_no_more(self, plan: Plan) -> None:
        """Whatever became of the plan."""
        if (number := self._expected.pop(plan, None)) is not None:
            self._study.tell(number, state=TrialState.FAIL)

    def propose(self, number: int, tried: set[Plan]) -> Plan | None:
        """A plan within the budget that is not in `tried`; None if none was found."""
        fresh = (plan for plan in self._candidates(number) if plan and plan not in tried)
        return next(fresh, None)

    def _candidates(self, number: int) -> Iterator[Plan]:
        yield from self._first
        tries = min(_TRIES_PER_PLAN, _MOST_LOOKS // max(1, len(self._observed)))
        for attempt in range(max(1, tries)):
            seed = derived(self._problem.seed, "proposal", number, attempt)
            asked = self._asked(seed)
            plan = repaired(asked, self._problem, random.Random(seed))
            if plan is not None:
                yield plan
        chance = random.Random(derived(self._problem.seed, "variation", number))
        for attempt in range(_TRIES_PER_PLAN * _VARIED_BLOCKS):
            varied = self._varied(asked, 1 + attempt // _TRIES_PER_PLAN, chance)
            plan = repaired(varied, self._problem, chance)
            if plan is not None:
                yield plan

    def _varied(self, plan: Plan, blocks: int, chance: random.Random) -> Plan:
        """`plan` with any options in so many blocks."""
        changes = self._problem.table.changes
        chosen = chance.sample(list(changes), min(blocks, len(changes)))
        return Plan({**plan, **{block: chance.choice(list(changes[block])) for block in chosen}})

    def _asked(self, seed: int) -> Plan:
        if self._asked_before == _MOST_ASKED:
            self._renew()
        self._asked_before += 1
        self._study.sampler = _sampler(self._problem, seed)
        trial = self._study.ask(fixed_distributions=self._problem.distributions)
        # Failed trials teach no sampler anything, and unlike running ones they repel none.
        self._study.tell(trial, state=TrialState.FAIL)
        return Plan.from_json(trial.params)

    def _renew(self) -> None:
        """A study of what is known alone."""
        self._study = optuna.create_study(directions=["maximize", "minimize"])
        self._asked_before = 0
        self._study.add_trials(self._observed)
        for plan in list(self._expected):
            self.expect(plan)


class _Sampler(optuna.samplers.TPESampler):
    """Knows the space, which TPE would find anew in every question, by looking at all trials."""

    def __init__(self, space: Mapping[str, BaseDistribution], **settings: Any) -> None:
        super().__init__(**settings)
        self._space = {name: space[name] for name in sorted(space) if not space[name].single()}

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._space


def _worth_knowing(observed: Sequence[FrozenTrial], most: int) -> list[FrozenTrial]:
    """The front, and of the others the newest, up to `most` in all; in the same order."""
    front: Staircase[int] = Staircase()
    for place, trial in enumerate(observed):
        accuracy, cost = trial.values
        front.put(cost, accuracy, place)
    kept = set(front.items())
    newest = (place for place in reversed(range(len(observed))) if place not in kept)
    kept |= set(islice(newest, max(0, most - len(kept))))
    return [observed[place] for place in sorted(kept)]


def _sampler(problem: Problem, seed: int) -> optuna.samplers.BaseSampler:
    if problem.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return _Sampler(
            problem.distributions,
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
