"""The search stage: propose, try, remember, until enough plans were tried."""

import math
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from pareconv.models.cost_table import CostTable, quantity_of
from pareconv.models.errors import ModelError
from pareconv.models.plan import Plan
from pareconv.search.claim import LeaseLost, Stop
from pareconv.search.errors import (
    Diverged,
    InvalidSpec,
    JobFailed,
    TaskDied,
    TaskFailed,
    TaskTimeout,
)
from pareconv.search.flights import Flights, Landed
from pareconv.search.history import DIED, LEFT, MEASURED, STOPPED, History
from pareconv.search.mirror import Mirror
from pareconv.search.preparing import Prepared
from pareconv.search.proposals import Problem, Proposer, uniform_plans
from pareconv.search.run import Profiled, Run
from pareconv.search.rungs import Rung
from pareconv.search.seeding import solver_plans, spread_plans
from pareconv.search.stretch import Stretch
from pareconv.storage import logs
from pareconv.storage.candidates import Candidate
from pareconv.storage.errors import Conflict, FilesError
from pareconv.storage.events import Level
from pareconv.storage.job_states import Stage


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
        self._history = History(self._stretch, self._problem.objective)
        self._uncontested: set[int] = set()  # could not be evaluated again
        name = f"{run.job.name or profiled.spec.teacher.architecture} ({run.job.id})"
        self._mirror = Mirror(database_url, name, self._problem)

    def search(self) -> None:
        """Try plans until the trials or the time are used up or the front stands still, then try
        its contested members again; JobFailed if not one worked out.

        As many at a time as the executor has slots; what they result in counts as it comes.
        """
        with self._mirror:
            self._take_up()
            try:
                self._explore()
                self._average()
            except LeaseLost:
                raise  # its candidates are another's to end
            except (Stop, InvalidSpec, JobFailed, FilesError) as stop:
                for candidate in self._history.running:
                    self._interrupt(candidate, str(stop))
                self._mirror.sync(self._history.candidates)
                raise
            self._mirror.sync(self._history.candidates)
        if not self._history.front():
            raise JobFailed(self._why_nothing())

    def _explore(self) -> None:
        with Flights[int](self._run) as flights:
            while True:
                end = None
                while flights.has_room and self._is_in_time():
                    following = self._next()
                    if isinstance(following, _End):
                        end = following
                        break
                    self._start(following, flights)
                if not flights:
                    break
                # What nobody waits for is done while all wait: it may fall behind meanwhile.
                while flights.is_quiet and self._mirror.follow(self._history.candidates):
                    pass
                self._keep(flights.land())
        if end is not None and end.type:
            self._run.report(end.type, end.message, level=end.level)

    def _average(self) -> None:
        with Flights[int](self._run) as flights:
            while True:
                while flights.has_room and self._is_in_time():
                    candidate = self._contested(flights)
                    if candidate is None:
                        break
                    self._send(candidate, flights, attempt=candidate.evaluations)
                if not flights:
                    break
                self._average_in(flights.land())

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
            candidates.fail(self._run.job.id, candidate.number, LEFT)
        for candidate in candidates.all(self._run.job.id):
            self._history.put(candidate)
        self._observe(self._history.candidates)
        self._mirror.sync(self._history.candidates)
        self._run.begin(Stage.SEARCH, self._share_done)

    def _observe(self, candidates: Sequence[Candidate]) -> None:
        for candidate in candidates:
            if candidate.state in MEASURED and candidate.accuracy is not None:
                self._proposer.observe(Plan.from_json(candidate.plan), candidate.accuracy)

    def _tighten(self) -> None:
        """Where an accuracy drop is allowed, go on below the cost of whoever is known to be within.

        It is a problem of its own: all that was observed is seen anew.
        """
        limit = None if self._drop is None else self._drop.limit(self._history.candidates)
        if limit is None:
            return
        objective = self._problem.objective
        limit = min(limit, self._space.limits.get(objective, limit))
        if self._proposer.limits.get(objective) != limit:
            problem = replace(self._space, limits={**self._space.limits, objective: limit})
            self._proposer = Proposer(problem, self._first_within(problem))
            self._observe(self._history.candidates)
            for candidate in self._history.running:
                self._proposer.expect(Plan.from_json(candidate.plan))

    def _first_within(self, problem: Problem) -> list[Plan]:
        """Of the plans that come first those within the budget, and then the solver's best."""
        plans = list(filter(problem.fits, self._first))
        if self._first and self._prepared:
            best = self._prepared.solver.best(problem.limits)
            plans += [best.plan] if best else []
        return plans

    @property
    def _share_done(self) -> float:
        return self._history.new_ended / self._stretch.trials

    def _tell_progress(self) -> None:
        self._run.advance(Stage.SEARCH, self._share_done, self._finishing_s())

    def _finishing_s(self) -> float | None:
        """What the finish should take: for each epoch what those of the front took for one."""
        took = [each.seconds / each.evaluations for each in self._history.front() if each.seconds]
        if not took:
            return None
        brief, finish = self._profiled.spec.distill, self._profiled.spec.finish
        at_once = 1 if self._profiled.finishes_one_by_one else self._run.executor.slots
        rounds = math.ceil(finish.finalists / at_once)
        return rounds * finish.epochs * statistics.mean(took) / brief.epochs

    def _is_in_time(self) -> bool:
        """Whether the slots have not been busy for as long as they may be."""
        limit = self._stretch.time_limit_s
        return limit is None or self._history.seconds / self._run.executor.slots < limit

    def _next(self) -> "_Choice | _End":
        """The next plan, or why there is none: with what is in flight that may yet change."""
        if repeated := self._history.to_repeat:
            return _Choice(Plan.from_json(repeated.plan), repeated.number)
        # Once the front was evaluated again it is another, with other accuracies.
        is_enough = self._history.new_plans >= self._stretch.trials
        if self._history.is_averaging or is_enough:
            return _End()
        if settled := self._settled():
            return settled
        self._tighten()
        # Counting plans, not candidates: an interruption must not change what comes next.
        tried = self._history.tried
        plan = self._proposer.propose(len(tried), tried)
        if plan is None:
            within = "below what is within the accuracy drop" if self._drop else "within the budget"
            message = f"no plan {within} is left to try after {len(tried)}"
            return _End("exhausted", message, "warning")
        return _Choice(plan)

    def _settled(self) -> "_End | None":
        """Where the newest member of the front is older than the patience allows. In an extension
        it has new patience.
        """
        patience = self._profiled.spec.search.patience
        front = self._history.front()
        if patience is None or not front:
            return None
        newest = max(self._stretch.candidates - 1, *(member.number for member in front))
        later = self._history.plans_since(newest, patience)
        if later < patience:
            return None
        return _End("settled", f"the last {later} plans moved no point of the front")

    def _start(self, chosen: "_Choice", flights: Flights[int]) -> None:
        plan = chosen.plan
        cost = self._problem.table.cost(plan)
        self._run.claim.check()
        with _while_ours():
            candidate = self._run.stores.candidates.create(
                self._run.job.id,
                plan.to_json(),
                owner=self._run.claim.owner,
                predicted=self._prepared.solver.predict(plan) if self._prepared else None,
                retry_of=chosen.repeats,
                flops=cost.flops,
                adds=cost.adds,
                params=cost.params,
                latency_ms=cost.latency_ms,
            )
        bar = self._history.bar(cost)
        self._history.put(candidate)
        self._proposer.expect(plan)
        self._send(candidate, flights, bar=bar)

    def _send(
        self,
        candidate: Candidate,
        flights: Flights[int],
        *,
        bar: Sequence[Rung] = (),
        attempt: int = 0,
    ) -> None:
        weights = self._prepared.weights(Plan.from_json(candidate.plan)) if self._prepared else None
        payload = self._profiled.bench | {
            "plan": candidate.plan,
            "library": weights,
            "bar": [asdict(rung) for rung in bar],
            "attempt": attempt,
        }
        limit = self._profiled.spec.search.trial_time_limit_s
        with logs.about(trial=candidate.number):
            flights.start(candidate.number, "evaluate", payload, timeout_seconds=limit)

    def _keep(self, landed: Landed[int]) -> None:
        """Remember what became of a trial, and learn from it."""
        candidate = self._history.candidates[landed.key]
        self._proposer.expect_no_more(Plan.from_json(candidate.plan))
        try:
            measured = landed.result()
        except TaskDied as error:
            self._fail(candidate, f"{DIED}{error}")
        except TaskTimeout:
            self._fail(candidate, self._too_slow())
        except Diverged as error:
            self._fail(candidate, str(error), error.compute)
        except (TaskFailed, ModelError) as error:
            self._fail(candidate, str(error))
        else:
            self._complete(candidate, dict(measured))
        self._tell_progress()

    def _complete(self, candidate: Candidate, measured: dict[str, Any]) -> None:
        store, job, number = self._run.stores.candidates, self._run.job.id, candidate.number
        reason = measured.pop("reason")
        if reason is None:
            _require_ours(store.complete(job, number, **measured))
        else:
            _require_ours(store.stop(job, number, reason, **measured))
        # A stopped trial counts with what it had reached: it was beaten there.
        self._proposer.observe(Plan.from_json(candidate.plan), measured["accuracy"])
        ended = self._reread(candidate)
        self._announce(ended)

    def _reread(self, candidate: Candidate) -> Candidate:
        found = self._run.stores.candidates.get(candidate.job_id, candidate.number)
        self._history.put(found)
        return found

    def _contested(self, flights: Flights[int]) -> Candidate | None:
        """The member of the front that should be evaluated again next: one that is not told from
        another by more than their noise, the one evaluated least often first.
        """
        front = self._history.front()
        repeats = self._profiled.spec.search.repeats
        waiting = [
            each
            for each in front
            if each.evaluations <= repeats
            and each.number not in self._uncontested
            and each.number not in flights
            and any(other is not each and _are_within_noise(each, other) for other in front)
        ]
        return min(waiting, key=lambda each: (each.evaluations, each.number), default=None)

    def _average_in(self, landed: Landed[int]) -> None:
        """Average the accuracy with that of a training in another order of the images."""
        candidate = self._history.candidates[landed.key]
        assert candidate.accuracy is not None
        assert candidate.accuracy_stderr is not None
        done = candidate.evaluations
        try:
            measured = landed.result()
        except (TaskDied, Diverged, TaskFailed, ModelError) as error:
            self._uncontested.add(candidate.number)
            message = f"trial {candidate.number} could not be evaluated again: {error}"
            self._run.report("trial_failed", message, level="warning")
            return
        mean = (done * candidate.accuracy + measured["accuracy"]) / (done + 1)
        self._run.claim.check()
        with _while_ours():
            self._run.stores.candidates.reevaluate(
                self._run.job.id,
                candidate.number,
                owner=self._run.claim.owner,
                accuracy=mean,
                accuracy_stderr=candidate.accuracy_stderr,
                evaluations=done + 1,
                compute=measured["compute"],
                seconds=measured["seconds"],
            )
        self._reread(candidate)
        self._run.report(
            "reevaluated",
            f"trial {candidate.number}: accuracy {mean:.4f} over {done + 1} evaluations",
            data={"trial": candidate.number, "accuracy": mean, "evaluations": done + 1},
        )

    def _fail(self, candidate: Candidate, reason: str, compute: float | None = None) -> None:
        self._end_failed(candidate, reason, compute)
        self._run.report(
            "trial_failed",
            f"trial {candidate.number} failed: {reason}",
            level="warning",
            data={"trial": candidate.number},
        )

    def _interrupt(self, candidate: Candidate, why: str) -> None:
        """Nothing is wrong with it: where the job goes on, its plan is tried again."""
        self._end_failed(candidate, f"{STOPPED}{why}")
        self._run.report(
            "trial_interrupted",
            f"trial {candidate.number} was interrupted: {why}",
            data={"trial": candidate.number},
        )

    def _end_failed(self, candidate: Candidate, reason: str, compute: float | None = None) -> None:
        store, job = self._run.stores.candidates, self._run.job.id
        _require_ours(store.fail(job, candidate.number, reason, compute=compute))
        self._reread(candidate)

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

    def _too_slow(self) -> str:
        limit = self._profiled.spec.search.trial_time_limit_s
        return (
            f"it took longer than search.trial_time_limit_s of {limit:g} s and was stopped; "
            "raise that, or lower distill.epochs"
        )

    def _why_nothing(self) -> str:
        reasons = self._history.reasons
        if reasons:
            return (
                f"none of {len(reasons)} candidates could be trained; the last one: {reasons[-1]}"
            )
        limits = " and ".join(f"{limit:,} {name}" for name, limit in self._problem.limits.items())
        within = f" within {limits}" if limits else ""
        return f"no plan was found{within}; raise one budget, or allow more time"


@dataclass(frozen=True)
class _Choice:
    """The next plan, and the number of the candidate that it repeats."""

    plan: Plan
    repeats: int | None = None


@dataclass(frozen=True)
class _End:
    """That no plan comes next, and what is told of it."""

    type: str = ""
    message: str = ""
    level: Level = "info"


@contextmanager
def _while_ours() -> Iterator[None]:
    """Between a look at the claim and the write another worker may have got the job."""
    try:
        yield
    except Conflict as error:
        raise LeaseLost(str(error)) from error


def _require_ours(is_ended_by_us: bool) -> None:
    if not is_ended_by_us:
        raise LeaseLost("another worker has the job and ended its running candidate")


def _are_within_noise(one: Candidate, other: Candidate) -> bool:
    """Both are measured on the same images, so that their binomial errors overstate the noise of
    the difference: one standard error of one of them is taken for it.
    """
    assert one.accuracy is not None
    assert other.accuracy is not None
    noise = max(one.accuracy_stderr or 0, other.accuracy_stderr or 0)
    return abs(one.accuracy - other.accuracy) <= noise
