"""A run: one job in the hands of one worker. What every stage needs, and how it reports."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pareconv.models.cost_table import quantity_of
from pareconv.search.accuracy_drop import AccuracyDrop
from pareconv.search.claim import Claim, LeaseLost
from pareconv.search.errors import TaskDied
from pareconv.search.eta import Eta
from pareconv.search.spec import JobSpec
from pareconv.search.stages import SPANS
from pareconv.search.stores import Stores
from pareconv.storage.events import Level
from pareconv.storage.job_states import Stage
from pareconv.storage.jobs import Job


class Executor(Protocol):
    """Where tasks run: in killable processes, of this machine or of others, or in this one.

    It takes calls from several threads, and serves as many of them at a time as it has slots.
    """

    @property
    def slots(self) -> int: ...

    def call(
        self,
        task: str,
        payload: Mapping[str, Any],
        *,
        timeout_seconds: float | None = None,
        on_event: Callable[[dict[str, Any]], None] | None = None,
        poll: Callable[[], None] | None = None,
    ) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Run:
    """`job` is as it was when the run began; what is written goes through the stores."""

    job: Job
    claim: Claim
    stores: Stores
    executor: Executor
    eta: Eta = field(default_factory=Eta, kw_only=True)

    def call(
        self,
        task: str,
        payload: Mapping[str, Any],
        on_event: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """Run a task, giving it up as soon as the claim says so; once more where its process
        died, which may have been bad luck.
        """
        try:
            return self._call(task, payload, on_event)
        except TaskDied as error:
            self.report_death(task, error)
            return self._call(task, payload, on_event)

    def report_death(self, task: str, error: TaskDied, **data: Any) -> None:
        """Record that the first attempt at a task ended so, and that there is a second one."""
        message = f"{error}; it is tried once more"
        data = {"task": task, "attempt": 1} | data
        self.report("task_died", message, level="warning", data=data)

    def report(
        self, type: str, message: str, *, level: Level = "info", data: dict[str, Any] | None = None
    ) -> None:
        self.stores.events.append(self.job.id, type, message, level=level, data=data)

    def _call(
        self,
        task: str,
        payload: Mapping[str, Any],
        on_event: Callable[[dict[str, Any]], None] | None,
    ) -> dict[str, Any]:
        self.claim.check()
        return self.executor.call(task, payload, on_event=on_event, poll=self.claim.check)

    def begin(self, stage: Stage, done: float = 0.0) -> None:
        """A stage begins, or goes on where an earlier worker left it."""
        self.eta.begin(done)
        self.advance(stage, done)

    def advance(self, stage: Stage, done: float, later_s: float | None = None) -> None:
        """Set the job's progress: `done` (0..1) of `stage`. `later_s` is what the stages after it
        should take, in seconds, where that can be told.
        """
        done = min(1.0, max(0.0, done))
        start, end = SPANS[stage]
        moments = self.eta.moments(done, later_s)
        self.update(stage=stage, progress=start + (end - start) * done, **moments)

    def update(self, **values: Any) -> None:
        """Write to the job's row; LeaseLost where it is no longer ours."""
        if not self.stores.jobs.update(self.job.id, owner=self.claim.owner, **values):
            raise LeaseLost("another worker may have the job")


@dataclass(frozen=True)
class Profiled:
    """What the profile stage left for the others: the resolved spec and the profile as stored."""

    spec: JobSpec
    profile: dict[str, Any]

    @property
    def accuracy_drop(self) -> AccuracyDrop | None:
        """What the job allows, where it does."""
        accuracy = self.profile["teacher"]["accuracy"]
        quantity = quantity_of(self.spec.search.objectives[1])
        return AccuracyDrop.of(self.spec.accuracy_drop, accuracy, quantity)

    @property
    def finishes_one_by_one(self) -> bool:
        """Where who comes next hangs on who was finished before, and where latencies count, which
        others at work would falsify.
        """
        return self.accuracy_drop is not None or self.spec.latency is not None

    @property
    def bench(self) -> dict[str, Any]:
        """What a task needs to set up its workbench."""
        return {"spec": self.spec.to_json(), "weights": self.profile["weights"]}
