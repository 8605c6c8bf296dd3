"""The search stage: propose, try, remember, until enough plans were tried."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from pareconv.models.cost_table import Cost, CostTable, quantity_of
from pareconv.models.errors import ModelError
from pareconv.models.plan import Plan
from pareconv.search.claim import LeaseLost, Stop
from pareconv.search.costs import cost_of
from pareconv.search.errors import (
    Diverged,
    InvalidSpec,
    JobFailed,
    TaskDied,
    TaskFailed,
    TaskTimeout,
)
from pareconv.search.mirror import Mirror
from pareconv.search.preparing import Prepared
from pareconv.search.proposals import Problem, Proposer, uniform_plans
from pareconv.search.run import Profiled, Run
from pareconv.search.rungs import Rung, best_rungs
from pareconv.search.seeding import solver_plans, spread_plans
from pareconv.search.stretch import Stretch
from pareconv.storage import logs
from pareconv.storage.candidate_states import CandidateState
from pareconv.storage.candidates import Candidate
from pareconv.storage.errors import FilesError
from pareconv.storage.job_states import Stage

# How the reason of a candidate begins whose plan is tried again: always when its worker was
# stopped, once when its own process died, which may have been its fault.
STOPPED = "stopped: "
DIED = "its process died: "

_LEFT = f"{STOPPED}its worker went away"

_MEASURED = (CandidateState.COMPLETE, CandidateState.STOPPED)


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


class Study:
    """The search of one job.

    The candidates in the database are the truth: it goes on from there.
    """

    def __init__(
        self, run: Run, profiled: Profiled, prepared: Prepared | None, database_url: str
    ) -> None:
        self._run = run
        self._profiled = profiled
        self._prepared = prepared
        # The whole space, which stays as it is: what a library scored may change meanwhile.
        self._problem = problem_of(profiled, None)
        self._drop = profiled.accuracy_drop
        self._space, self._first = self._searched()
        self._proposer = Proposer(self._space, self._first)
        self._stretch = Stretch.of(profiled.spec.search, run.job.extension)
        self._uncontested: set[int] = set()  # could not be evaluated again
        name = f"{run.job.name or profiled.spec.teacher.architecture} ({run.job.id})"
        self._mirror = Mirror(database_url, name, self._problem)

    def search(self) -> None:
        """Try plans until the trials or the time are used up or the front stands still, then try
        its contested members again; JobFailed if not one worked out.
        """
        with self._mirror:
            self._take_up()
            while self._is_in_time() and (plan := self._next()) is not None:
                self._try(plan)
            while self._is_in_time() and (candidate := self._contested()) is not None:
                self._try_again(candidate)
            self._keep_up()
        if not self._front():
            raise JobFailed(self._why_nothing())

    def _searched(self) -> tuple[Problem, list[Plan]]:
        """Among which plans the next is sought, and those that come first."""
        problem = problem_of(self._profiled, self._prepared)
        if self._profiled.spec.plan is not None:
            return problem, [Plan.from_json(self._profiled.spec.plan)]
        if problem.sampler == "random":
            return problem, []
        if self._prepared is None:
            return problem, uniform_plans(problem)
        if self._drop is not None:
            return problem, spread_plans(problem, self._prepared.solver)
        return problem, solver_plans(problem, self._prepared.solver)

    def _take_up(self) -> None:
        """Go on after an interruption: end what ran then, learn from what is complete."""
        candidates = self._run.stores.candidates
        for candidate in candidates.running(self._run.job.id):
            candidates.fail(self._run.job.id, candidate.number, _LEFT)
        self._observe(self._candidates())
        self._keep_up()

    def _observe(self, candidates: Sequence[Candidate]) -> None:
        for candidate in candidates:
            if candidate.state in _MEASURED and candidate.accuracy is not None:
                self._proposer.observe(Plan.from_json(candidate.plan), candidate.accuracy)

    def _tighten(self, candidates: Sequence[Candidate]) -> None:
        """Where an accuracy drop is allowed, go on below the cost of whoever is known to be within.

        It is a problem of its own: all that was observed is seen anew.
        """
        limit = None if self._drop is None else self._drop.limit(candidates)
        if limit is None:
            return
        objective = self._problem.objective
        limit = min(limit, self._space.limits.get(objective, limit))
        if self._proposer.limits.get(objective) != limit:
            problem = replace(self._space, limits={**self._space.limits, objective: limit})
            self._proposer = Proposer(problem, self._first_within(problem))
            self._observe(candidates)

    def _first_within(self, problem: Problem) -> list[Plan]:
        """Of the plans that come first those within the budget, and then the solver's best."""
        plans = list(filter(problem.fits, self._first))
        if self._first and self._prepared:
            best = self._prepared.solver.best(problem.limits)
            plans += [best.plan] if best else []
        return plans

    def _keep_up(self) -> None:
        """Bring the mirror and the job's progress up to the candidates."""
        candidates = self._candidates()
        self._mirror.sync(candidates)
        ended = {Plan.from_json(each.plan) for each in candidates if each.finished_at}
        done = len(self._stretch.new(ended, candidates)) / self._stretch.trials
        self._run.advance(Stage.SEARCH, done)

    def _is_in_time(self) -> bool:
        """Counts the time that candidates took, so that an interruption does not start it anew."""
        stretch, candidates = self._stretch, self._candidates()
        if stretch.time_limit_s is None:
            return True
        again = sum(each.seconds or 0 for each in stretch.before(candidates)) - stretch.seconds
        return again + sum(map(_seconds, stretch.since(candidates))) < stretch.time_limit_s

    def _next(self) -> tuple[Plan, int | None] | None:
        """The next plan and the candidate that it repeats; None when there are enough."""
        candidates = self._candidates()
        if repeated := _to_repeat(candidates):
            return Plan.from_json(repeated.plan), repeated.number
        tried = {Plan.from_json(candidate.plan) for candidate in candidates}
        if self._stretch.is_averaging(candidates):
            return None  # the front was evaluated again: with other accuracies it is another
        is_enough = len(self._stretch.new(tried, candidates)) >= self._stretch.trials
        if is_enough or self._stands_still(candidates):
            return None
        self._tighten(candidates)
        # Counting plans, not candidates: an interruption must not change what comes next.
        plan = self._proposer.propose(len(tried), tried)
        if plan is None:
            within = "below what is within the accuracy drop" if self._drop else "within the budget"
            message = f"no plan {within} is left to try after {len(tried)}"
            self._run.report("exhausted", message, level="warning")
            return None
        return plan, None

    def _stands_still(self, candidates: Sequence[Candidate]) -> bool:
        """Whether the newest member of the front is older than the patience allows. In an extension
        it has new patience.
        """
        patience = self._profiled.spec.search.patience
        front = self._front()
        if patience is None or not front:
            return False
        newest = max(self._stretch.candidates - 1, *(member.number for member in front))
        later = {Plan.from_json(each.plan) for each in candidates if each.number > newest}
        if len(later) < patience:
            return False
        self._run.report("settled", f"the last {len(later)} plans moved no point of the front")
        return True

    def _try(self, chosen: tuple[Plan, int | None]) -> None:
        plan, repeated = chosen
        cost = self._problem.table.cost(plan)
        store, job = self._run.stores.candidates, self._run.job.id
        predicted = self._prepared.solver.predict(plan) if self._prepared else None
        rivals = self._bar(cost)
        candidate = store.create(
            job,
            plan.to_json(),
            predicted=predicted,
            retry_of=repeated,
            flops=cost.flops,
            adds=cost.adds,
            params=cost.params,
            latency_ms=cost.latency_ms,
        )
        try:
            with logs.about(trial=candidate.number):
                measured = self._evaluate(plan, bar=rivals)
        except TaskDied as error:
            self._fail(candidate, f"{DIED}{error}")
        except LeaseLost:
            raise  # it is another's to end
        except (Stop, InvalidSpec, JobFailed, FilesError) as stop:
            self._fail(candidate, f"{STOPPED}{stop}")
            raise
        except Diverged as error:
            self._fail(candidate, str(error), error.compute)
        except (TaskFailed, ModelError) as error:
            self._fail(candidate, str(error))
        else:
            reason = measured.pop("reason")
            if reason is None:
                _require_ours(store.complete(job, candidate.number, **measured))
            else:
                _require_ours(store.stop(job, candidate.number, reason, **measured))
            # A stopped trial counts with what it had reached: it was beaten there.
            self._proposer.observe(plan, measured["accuracy"])
            self._announce(store.get(job, candidate.number))
        self._keep_up()

    def _evaluate(
        self, plan: Plan, *, bar: Sequence[Rung] = (), attempt: int = 0
    ) -> dict[str, Any]:
        payload = {
            "plan": plan.to_json(),
            "library": self._prepared.weights(plan) if self._prepared else None,
            "bar": [asdict(rung) for rung in bar],
            "attempt": attempt,
        }
        limit = self._profiled.spec.search.trial_time_limit_s
        try:
            return self._run.call("evaluate", self._profiled.bench | payload, timeout_seconds=limit)
        except TaskTimeout as error:
            raise TaskTimeout(
                f"it took longer than search.trial_time_limit_s of {limit:g} s and was stopped; "
                "raise that, or lower distill.epochs"
            ) from error

    def _bar(self, cost: Cost) -> list[Rung]:
        """The best rungs of those tried that cost no more."""
        most = cost.quantity(self._problem.objective)
        return best_rungs(
            [Rung.from_json(rung) for rung in each.rungs]
            for each in self._candidates()
            if each.state in _MEASURED and cost_of(each).quantity(self._problem.objective) <= most
        )

    def _contested(self) -> Candidate | None:
        """The member of the front that should be evaluated again next: one that is not told from
        another by more than their noise, the one evaluated least often first.
        """
        front = self._front()
        repeats = self._profiled.spec.search.repeats
        waiting = [
            each
            for each in front
            if each.evaluations <= repeats
            and each.number not in self._uncontested
            and any(other is not each and _are_within_noise(each, other) for other in front)
        ]
        return min(waiting, key=lambda each: (each.evaluations, each.number), default=None)

    def _try_again(self, candidate: Candidate) -> None:
        """Average the accuracy with that of a training in another order of the images."""
        assert candidate.accuracy is not None
        assert candidate.accuracy_stderr is not None
        done = candidate.evaluations
        try:
            with logs.about(trial=candidate.number):
                measured = self._evaluate(Plan.from_json(candidate.plan), attempt=done)
        except (TaskDied, Diverged, TaskFailed, ModelError) as error:
            self._uncontested.add(candidate.number)
            message = f"trial {candidate.number} could not be evaluated again: {error}"
            self._run.report("trial_failed", message, level="warning")
            return
        mean = (done * candidate.accuracy + measured["accuracy"]) / (done + 1)
        self._run.claim.check()
        self._run.stores.candidates.reevaluate(
            self._run.job.id,
            candidate.number,
            accuracy=mean,
            accuracy_stderr=candidate.accuracy_stderr,
            evaluations=done + 1,
            compute=measured["compute"],
            seconds=measured["seconds"],
        )
        self._run.report(
            "reevaluated",
            f"trial {candidate.number}: accuracy {mean:.4f} over {done + 1} evaluations",
            data={"trial": candidate.number, "accuracy": mean, "evaluations": done + 1},
        )

    def _fail(self, candidate: Candidate, reason: str, compute: float | None = None) -> None:
        store, job = self._run.stores.candidates, self._run.job.id
        _require_ours(store.fail(job, candidate.number, reason, compute=compute))
        self._run.report(
            "trial_failed",
            f"trial {candidate.number} failed: {reason}",
            level="warning",
            data={"trial": candidate.number},
        )

    def _announce(self, candidate: Candidate) -> None:
        share = candidate.flops / self._problem.table.teacher.flops
        stopped = f" ({candidate.reason})" if candidate.reason else ""
        self._run.report(
            "trial",
            f"trial {candidate.number}: accuracy {candidate.accuracy:.4f} "
            f"at {share:.1%} of the FLOPs{stopped}",
            data={
                "trial": candidate.number,
                "accuracy": candidate.accuracy,
                "flops": candidate.flops,
                "params": candidate.params,
                "seconds": candidate.seconds,
            },
        )

    def _why_nothing(self) -> str:
        reasons = [each.reason for each in self._candidates() if each.reason]
        if reasons:
            return (
                f"none of {len(reasons)} candidates could be trained; the last one: {reasons[-1]}"
            )
        limits = " and ".join(f"{limit:,} {name}" for name, limit in self._problem.limits.items())
        within = f" within {limits}" if limits else ""
        return f"no plan was found{within}; raise one budget, or allow more time"

    def _front(self) -> list[Candidate]:
        cost = self._profiled.spec.search.objectives[1]
        return self._run.stores.candidates.front(self._run.job.id, cost=cost)

    def _candidates(self) -> list[Candidate]:
        return self._run.stores.candidates.all(self._run.job.id)


def _require_ours(is_ended_by_us: bool) -> None:
    if not is_ended_by_us:
        raise LeaseLost("another worker has the job and ended its running candidate")


def _seconds(candidate: Candidate) -> float:
    """What it took so far, further evaluations included; nothing where its worker went away, which
    nobody saw.
    """
    if candidate.finished_at is None or candidate.reason == _LEFT:
        return 0.0
    lived = (candidate.finished_at - candidate.created_at).total_seconds()
    return max(lived, candidate.seconds or 0.0)


def _are_within_noise(one: Candidate, other: Candidate) -> bool:
    """Both are measured on the same images, so that their binomial errors overstate the noise of
    the difference: one standard error of one of them is taken for it.
    """
    assert one.accuracy is not None
    assert other.accuracy is not None
    noise = max(one.accuracy_stderr or 0, other.accuracy_stderr or 0)
    return abs(one.accuracy - other.accuracy) <= noise


def _to_repeat(candidates: Sequence[Candidate]) -> Candidate | None:
    """The first candidate that was interrupted and not repeated yet."""
    repeated = {candidate.retry_of for candidate in candidates}
    deaths = Counter(
        Plan.from_json(each.plan) for each in candidates if (each.reason or "").startswith(DIED)
    )
    waiting = (
        each
        for each in candidates
        if each.number not in repeated
        and (each.reason or "").startswith((STOPPED, DIED))
        and deaths[Plan.from_json(each.plan)] < 2
    )
    return next(waiting, None)
