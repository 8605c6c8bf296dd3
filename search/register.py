"""The register of a search: its candidates as they begin and end.

Every change is written to the database, taken over into the history, and told by an event.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pareconv.models.cost_table import Cost
from pareconv.models.plan import Plan
from pareconv.search.claim import LeaseLost
from pareconv.search.history import LEFT, STOPPED, History
from pareconv.search.run import Run
from pareconv.storage.candidates import Candidate
from pareconv.storage.errors import Conflict


class Register:
    """Alone writes candidates while a search is on; LeaseLost where another worker has the job."""

    def __init__(self, run: Run, history: History, teacher: Cost) -> None:
        self._run, self._history, self._teacher = run, history, teacher
        self._store, self._job = run.stores.candidates, run.job.id

    def take_up(self) -> None:
        """Read what is there after an interruption, and end what ran then."""
        for candidate in self._store.running(self._job):
            self._store.fail(self._job, candidate.number, LEFT)
        for candidate in self._store.all(self._job):
            self._history.put(candidate)

    def begin(
        self, plan: Plan, cost: Cost, *, predicted: float | None, repeats: int | None
    ) -> Candidate:
        """A new candidate, which runs. `repeats` is the number of the one it is tried again for."""
        self._run.claim.check()
        with _while_ours():
            candidate = self._store.create(
                self._job,
                plan.to_json(),
                owner=self._run.claim.owner,
                predicted=predicted,
                retry_of=repeats,
                flops=cost.flops,
                adds=cost.adds,
                params=cost.params,
                latency_ms=cost.latency_ms,
            )
        self._history.put(candidate)
        return candidate

    def end(self, number: int, measured: Mapping[str, Any]) -> Candidate:
        """It was measured: complete, or stopped for the `reason` that is given."""
        measured = dict(measured)
        reason = measured.pop("reason")
        if reason is None:
            _require_ours(self._store.complete(self._job, number, **measured))
        else:
            _require_ours(self._store.stop(self._job, number, reason, **measured))
        candidate = self._reread(number)
        self._announce(candidate)
        return candidate

    def average_in(self, number: int, measured: Mapping[str, Any]) -> None:
        """It was evaluated once more, in another order of the images."""
        candidate = self._history.candidates[number]
        assert candidate.accuracy is not None
        assert candidate.accuracy_stderr is not None
        done = candidate.evaluations
        mean = (done * candidate.accuracy + measured["accuracy"]) / (done + 1)
        self._run.claim.check()
        with _while_ours():
            self._store.reevaluate(
                self._job,
                number,
                owner=self._run.claim.owner,
                accuracy=mean,
                accuracy_stderr=candidate.accuracy_stderr,
                evaluations=done + 1,
                compute=measured["compute"],
                seconds=measured["seconds"],
            )
        self._reread(number)
        self._run.report(
            "reevaluated",
            f"trial {number}: accuracy {mean:.1%} over {done + 1} evaluations",
            data={"trial": number, "accuracy": mean, "evaluations": done + 1},
        )

    def fail(self, number: int, reason: str, compute: float | None = None) -> None:
        self._fail(number, reason, compute)
        self._run.report(
            "trial_failed",
            f"trial {number} failed: {reason}",
            level="warning",
            data={"trial": number},
        )

    def interrupt(self, why: str) -> None:
        """Nothing is wrong with those that run: where the job goes on, their plans are tried
        again.
        """
        for candidate in self._history.running:
            self._fail(candidate.number, f"{STOPPED}{why}")
            self._run.report(
                "trial_interrupted",
                f"trial {candidate.number} was interrupted: {why}",
                data={"trial": candidate.number},
            )

    def _fail(self, number: int, reason: str, compute: float | None = None) -> None:
        _require_ours(self._store.fail(self._job, number, reason, compute=compute))
        self._reread(number)

    def _reread(self, number: int) -> Candidate:
        found = self._store.get(self._job, number)
        self._history.put(found)
        return found

    def _announce(self, candidate: Candidate) -> None:
        share = candidate.flops / self._teacher.flops
        stopped = f" ({candidate.reason})" if candidate.reason else ""
        self._run.report(
            "trial",
            f"trial {candidate.number}: accuracy {candidate.accuracy:.1%} "
            f"at {share:.1%} of the FLOPs{stopped}",
            data={
                "trial": candidate.number,
                "accuracy": candidate.accuracy,
                "flops": candidate.flops,
                "params": candidate.params,
                "seconds": candidate.seconds,
            },
        )


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
