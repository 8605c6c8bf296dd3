"""The search stage: propose, try, remember, until enough plans were tried."""

from collections import Counter
from collections.abc import Sequence

from pareconv.models.cost_table import CostTable
from pareconv.models.errors import ModelError
from pareconv.models.plan import Plan
from pareconv.search.claim import CancelAsked, LeaseLost, ShuttingDown
from pareconv.search.errors import Diverged, InvalidSpec, JobFailed, TaskDied, TaskFailed
from pareconv.search.mirror import Mirror
from pareconv.search.proposals import Problem, Proposer
from pareconv.search.run import Profiled, Run
from pareconv.storage.candidate_states import CandidateState
from pareconv.storage.candidates import Candidate
from pareconv.storage.job_states import Stage

# How the reason of a candidate begins whose plan is tried again: always when its worker was
# stopped, once when its own process died, which may have been its fault.
STOPPED = "stopped: "
DIED = "its process died: "


def problem_of(profiled: Profiled) -> Problem:
    search = profiled.spec.search
    return Problem(
        table=CostTable.from_json(profiled.profile["table"]),
        limits={name: limit for name, limit in profiled.profile["budget"].items() if limit},
        objective=search.objectives[1],
        sampler=search.sampler,
        trials=search.trials,
        seed=profiled.spec.seed,
    )


class Study:
    """The search of one job.

    The candidates in the database are the truth: it goes on from there.
    """

    def __init__(self, run: Run, profiled: Profiled, database_url: str) -> None:
        self._run = run
        self._profiled = profiled
        self._problem = problem_of(profiled)
        self._proposer = Proposer(self._problem)
        name = f"{run.job.name or profiled.spec.teacher.architecture} ({run.job.id})"
        self._mirror = Mirror(database_url, name, self._problem)

    def search(self) -> None:
        """Try plans until the trials or the time are used up; JobFailed if not one worked out."""
        with self._mirror:
            self._take_up()
            while self._is_in_time() and (plan := self._next()) is not None:
                self._try(plan)
        if not self._run.stores.candidates.front(self._run.job.id):
            raise JobFailed(self._why_nothing())

    def _take_up(self) -> None:
        """Go on after an interruption: end what ran then, learn from what is complete."""
        candidates = self._run.stores.candidates
        for candidate in candidates.running(self._run.job.id):
            candidates.fail(self._run.job.id, candidate.number, f"{STOPPED}its worker went away")
        for candidate in self._candidates():
            if candidate.state is CandidateState.COMPLETE and candidate.accuracy is not None:
                self._proposer.observe(Plan.from_json(candidate.plan), candidate.accuracy)
        self._keep_up()

    def _keep_up(self) -> None:
        """Bring the mirror and the job's progress up to the candidates."""
        candidates = self._candidates()
        self._mirror.sync(candidates)
        ended = {Plan.from_json(each.plan) for each in candidates if each.finished_at}
        self._run.advance(Stage.SEARCH, len(ended) / self._problem.trials)

    def _is_in_time(self) -> bool:
        """Counts the time that candidates took, so that an interruption does not start it anew."""
        limit = self._profiled.spec.search.time_limit_s
        spent = (
            (each.finished_at - each.created_at).total_seconds()
            for each in self._candidates()
            if each.finished_at is not None
        )
        return limit is None or sum(spent) < limit

    def _next(self) -> tuple[Plan, int | None] | None:
        """The next plan and the candidate that it repeats; None when there are enough."""
        candidates = self._candidates()
        if repeated := _to_repeat(candidates):
            return Plan.from_json(repeated.plan), repeated.number
        tried = {Plan.from_json(candidate.plan) for candidate in candidates}
        if len(tried) >= self._problem.trials:
            return None
        # Counting plans, not candidates: an interruption must not change what comes next.
        plan = self._proposer.propose(len(tried), tried)
        if plan is None:
            message = f"no plan within the budget is left to try after {len(tried)}"
            self._run.report("exhausted", message, level="warning")
            return None
        return plan, None

    def _try(self, chosen: tuple[Plan, int | None]) -> None:
        plan, repeated = chosen
        cost = self._problem.table.cost(plan)
        store, job = self._run.stores.candidates, self._run.job.id
        candidate = store.create(job, plan.to_json(), **cost.to_json(), retry_of=repeated)
        try:
            measured = self._run.call("evaluate", self._profiled.bench | {"plan": plan.to_json()})
        except TaskDied as error:
            self._fail(candidate, f"{DIED}{error}")
        except (CancelAsked, ShuttingDown, InvalidSpec, JobFailed) as stop:
            self._fail(candidate, f"{STOPPED}{stop}")
            raise
        except (Diverged, TaskFailed, ModelError) as error:
            self._fail(candidate, str(error))
        else:
            _require_ours(store.complete(job, candidate.number, **measured))
            self._proposer.observe(plan, measured["accuracy"])
            self._announce(store.get(job, candidate.number))
        self._keep_up()

    def _fail(self, candidate: Candidate, reason: str) -> None:
        candidates = self._run.stores.candidates
        _require_ours(candidates.fail(self._run.job.id, candidate.number, reason))
        self._run.report(
            "trial_failed",
            f"trial {candidate.number} failed: {reason}",
            level="warning",
            data={"trial": candidate.number},
        )

    def _announce(self, candidate: Candidate) -> None:
        share = candidate.flops / self._problem.table.teacher.flops
        self._run.report(
            "trial",
            f"trial {candidate.number}: accuracy {candidate.accuracy:.4f} "
            f"at {share:.1%} of the FLOPs",
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
        return f"no plan was found within {limits}; raise one budget, or allow more time"

    def _candidates(self) -> list[Candidate]:
        return self._run.stores.candidates.all(self._run.job.id)


def _require_ours(is_ended_by_us: bool) -> None:
    if not is_ended_by_us:
        raise LeaseLost("another worker has the job and ended its running candidate")


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
