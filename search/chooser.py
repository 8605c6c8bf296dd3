"""The chooser: which plan a search tries next, or why none comes."""

from dataclasses import dataclass, replace

from pareconv.models.cost_table import CostTable, quantity_of
from pareconv.models.plan import Plan
from pareconv.search.history import MEASURED, History
from pareconv.search.preparing import Prepared
from pareconv.search.proposals import Problem, Proposer, uniform_plans
from pareconv.search.run import Profiled
from pareconv.search.seeding import solver_plans, spread_plans
from pareconv.search.stretch import Stretch
from pareconv.storage.candidates import Candidate
from pareconv.storage.events import Level


@dataclass(frozen=True)
class Choice:
    """The next plan, and the number of the candidate that it repeats."""

    plan: Plan
    repeats: int | None = None


@dataclass(frozen=True)
class End:
    """That no plan comes next, and what is told of it."""

    type: str = ""
    message: str = ""
    level: Level = "info"


def problem_of(profiled: Profiled, prepared: Prepared | None) -> Problem:
    """What the job searches: of a library's options those that it scored."""
    search, drop = profiled.spec.search, profiled.accuracy_drop
    return Problem(
        table=prepared.scored if prepared else CostTable.from_json(profiled.profile["table"]),
        limits={name: limit for name, limit in profiled.profile["budget"].items() if limit},
        objective=quantity_of(search.objectives[1]),
        sampler=search.sampler,
        trials=search.trials,
        seed=profiled.spec.seed,
        least_accuracy=drop.least if drop else None,
    )


class Chooser:
    """Reads the history, and is told beside it what is being tried and what it led to."""

    def __init__(
        self, profiled: Profiled, prepared: Prepared | None, history: History, stretch: Stretch
    ) -> None:
        self._prepared, self._history, self._stretch = prepared, history, stretch
        self._drop = profiled.accuracy_drop
        self._patience = profiled.spec.search.patience
        self._problem = problem_of(profiled, prepared)
        self._first = self._seeds(profiled.spec.plan)
        self._proposer = Proposer(self._problem, self._first)

    def expect(self, plan: Plan) -> None:
        """It is being tried: others keep away from it."""
        self._proposer.expect(plan)

    def expect_no_more(self, plan: Plan) -> None:
        """Whatever became of it."""
        self._proposer.expect_no_more(plan)

    def observe(self, candidate: Candidate) -> None:
        """What it led to. A stopped one counts with what it had reached: it was beaten there."""
        if candidate.state in MEASURED and candidate.accuracy is not None:
            self._proposer.observe(Plan.from_json(candidate.plan), candidate.accuracy)

    def next(self) -> Choice | End:
        """With what is in flight an end may yet change."""
        if repeated := self._history.to_repeat:
            return Choice(Plan.from_json(repeated.plan), repeated.number)
        # Once the front was evaluated again it is another, with other accuracies.
        is_enough = self._history.new_plans >= self._stretch.trials
        if self._history.is_averaging or is_enough:
            return End()
        if settled := self._settled():
            return settled
        self._tighten()
        # Counting plans, not candidates: an interruption must not change what comes next.
        tried = self._history.tried
        plan = self._proposer.propose(len(tried), tried)
        if plan is None:
            within = "below what is within the accuracy drop" if self._drop else "within the budget"
            message = f"no plan {within} is left to try after {len(tried)}"
            return End("exhausted", message, "warning")
        return Choice(plan)

    def _seeds(self, only: dict[str, str] | None) -> list[Plan]:
        """The plans that come first."""
        if only is not None:
            return [Plan.from_json(only)]
        if self._problem.sampler == "random":
            return []
        if self._prepared is None:
            return uniform_plans(self._problem)
        if self._drop is not None:
            return spread_plans(self._problem, self._prepared.solver)
        return solver_plans(self._problem, self._prepared.solver)

    def _settled(self) -> End | None:
        """Where the newest member of the front is older than the patience allows. In an extension
        it has new patience.
        """
        front = self._history.front()
        if self._patience is None or not front:
            return None
        newest = max(self._stretch.candidates - 1, *(member.number for member in front))
        later = self._history.plans_since(newest, self._patience)
        if later < self._patience:
            return None
        return End("settled", f"the last {later} plans moved no point of the front")

    def _tighten(self) -> None:
        """Where an accuracy drop is allowed, go on below the cost of whoever is known to be within.

        It is a problem of its own: all that was observed is seen anew.
        """
        limit = None if self._drop is None else self._drop.limit(self._history.candidates)
        if limit is None:
            return
        objective = self._problem.objective
        limit = min(limit, self._problem.limits.get(objective, limit))
        if self._proposer.limits.get(objective) != limit:
            problem = replace(self._problem, limits={**self._problem.limits, objective: limit})
            self._proposer = Proposer(problem, self._first_within(problem))
            for candidate in self._history.candidates:
                self.observe(candidate)
            for candidate in self._history.running:
                self.expect(Plan.from_json(candidate.plan))

    def _first_within(self, problem: Problem) -> list[Plan]:
        """Of the plans that come first those within the budget, and then the solver's best."""
        plans = list(filter(problem.fits, self._first))
        if self._first and self._prepared:
            best = self._prepared.solver.best(problem.limits)
            plans += [best.plan] if best else []
        return plans
