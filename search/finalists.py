"""The finish stage: which candidates are finished, one after another, and what is kept of them."""

from collections.abc import Sequence
from typing import Any

from pareconv.models.errors import ModelError
from pareconv.search.errors import JobFailed, SearchError, TaskDied
from pareconv.search.run import Profiled, Run
from pareconv.storage.candidates import Candidate
from pareconv.storage.job_states import Stage


class Finalists:
    """The finalists of one job. Who is one already stays as it is: nobody is tested twice."""

    def __init__(self, run: Run, profiled: Profiled) -> None:
        self._run = run
        self._profiled = profiled
        self._failures: dict[int, str] = {}

    def finish(self) -> None:
        """Finish the most accurate of the front, and whatever was asked for, also meanwhile.

        JobFailed if there was a front and none of it could be.
        """
        chosen = self._chosen()
        done = sum(each.finalist for each in chosen)
        self._run.advance(Stage.FINISH, 0)
        if self._waiting(chosen):
            self._test_teacher()
        while waiting := self._waiting(chosen):
            self._finish(waiting[0], chosen, done, done + len(waiting))
            done += 1
        if chosen and all(each.number in self._failures for each in chosen):
            *_, last = self._failures.values()
            raise JobFailed(f"no finalist could be finished; the last one: {last}")
        self._run.advance(Stage.FINISH, 1)

    def _chosen(self) -> list[Candidate]:
        objective = self._profiled.spec.search.objectives[1]
        front = self._run.stores.candidates.front(self._run.job.id, cost=objective)
        best = sorted(front, key=lambda point: (-(point.accuracy or 0), point.flops))
        return best[: self._profiled.spec.finish.finalists]

    def _waiting(self, chosen: Sequence[Candidate]) -> list[Candidate]:
        """What is still to be finished, as it is now: the chosen ones, then those asked for."""
        candidates = self._run.stores.candidates.all(self._run.job.id)
        asked = [each.number for each in candidates if each.wanted is not None]
        numbers = dict.fromkeys([*(each.number for each in chosen), *asked])
        return [
            candidates[number]
            for number in numbers
            if not candidates[number].finalist and number not in self._failures
        ]

    def _test_teacher(self) -> None:
        profile = self._profiled.profile
        teacher = profile["teacher"]
        if teacher["accuracy"] is not None and teacher["test_accuracy"] is None:
            measured = self._run.call("test_teacher", self._profiled.bench)
            self._run.update(profile=profile | {"teacher": teacher | measured})

    def _finish(
        self, candidate: Candidate, chosen: Sequence[Candidate], done: int, total: int
    ) -> None:
        """Finish a candidate, the next after `done` of `total`; the others that were chosen may
        teach it.
        """

        def on_event(event: dict[str, Any]) -> None:
            self._run.advance(Stage.FINISH, (done + event["done"]) / total)

        others = [_tried(other) for other in chosen if other.number != candidate.number]
        payload = _tried(candidate) | {"others": others, "asked": candidate.wanted or {}}
        try:
            result = self._call_twice(payload, on_event)
        except (SearchError, ModelError) as error:
            self._fail(candidate, str(error))
        else:
            self._keep(candidate, result)

    def _call_twice(self, payload: dict[str, Any], on_event: Any) -> dict[str, Any]:
        """A process that dies may have been unlucky; one that dies twice was not."""
        payload = self._profiled.bench | payload
        try:
            return self._run.call("finish", payload, on_event)
        except TaskDied:
            return self._run.call("finish", payload, on_event)

    def _fail(self, candidate: Candidate, reason: str) -> None:
        self._failures[candidate.number] = reason
        self._run.report(
            "finish_failed",
            f"trial {candidate.number} could not be finished: {reason}",
            level="error",
            data={"trial": candidate.number},
        )
        self._run.claim.check()
        self._run.stores.candidates.unwant(self._run.job.id, candidate.number)

    def _keep(self, candidate: Candidate, result: dict[str, Any]) -> None:
        job, number = self._run.job.id, candidate.number
        self._run.claim.check()
        for artifact in result["artifacts"]:
            self._run.stores.artifacts.put(
                job,
                number,
                format=artifact["format"],
                sha256=artifact["sha256"],
                size_bytes=artifact["size_bytes"],
                filename=f"{job}-{number}.{artifact['format']}",
            )
        self._run.stores.candidates.finish(
            job,
            number,
            finish_accuracy=result["finish_accuracy"],
            test_accuracy=result["test_accuracy"],
            compute=result["compute"],
        )
        self._run.report(
            "finalist",
            f"trial {number} finished: validation accuracy {result['finish_accuracy']:.4f}, "
            f"test accuracy {result['test_accuracy']:.4f}",
            data={"trial": number, "test_accuracy": result["test_accuracy"]},
        )


def _tried(candidate: Candidate) -> dict[str, Any]:
    return {"plan": candidate.plan, "checkpoint": candidate.checkpoint}
