"""The finish stage: which candidates are finished, one after another, and what is kept of them."""

from collections.abc import Sequence
from typing import Any

from pareconv.models.errors import ModelError
from pareconv.search.accuracy_drop import AccuracyDrop
from pareconv.search.errors import JobFailed, SearchError, TaskDied
from pareconv.search.reporting import filename, report
from pareconv.search.run import Profiled, Run
from pareconv.search.stretch import Stretch
from pareconv.storage.candidates import Candidate
from pareconv.storage.job_states import Stage


class Finalists:
    """The finalists of one job. Who is one already stays as it is: nobody is tested twice."""

    def __init__(self, run: Run, profiled: Profiled) -> None:
        self._run = run
        self._profiled = profiled
        self._drop = profiled.accuracy_drop
        self._failures: dict[int, str] = {}

    def finish(self) -> None:
        """Finish the most accurate of the front, or those by which it is decided who is the least
        costly within an accuracy drop; and whatever was asked for, also meanwhile.

        JobFailed where none of the front could be finished.
        """
        self._run.advance(Stage.FINISH, 0)
        done, failure = 0, None
        while (candidate := self._chosen() or self._asked()) is not None:
            if done == 0:
                self._test_teacher()
            self._finish(candidate, done)
            done += 1
            if candidate.wanted is None:
                failure = self._failures.get(candidate.number, failure)
        finalists = self._run.stores.candidates.finalists(self._run.job.id)
        if failure is not None and not finalists:
            raise JobFailed(f"no finalist could be finished; the last one: {failure}")
        if self._drop is not None:
            self._tell_answer(self._drop, finalists)
        self._run.advance(Stage.FINISH, 1)

    def _chosen(self) -> Candidate | None:
        """The next by the job's own choice."""
        if self._drop is not None:
            is_left = self._places_left() > 0
            return self._drop.next(self._front(), self._failures) if is_left else None
        return next((each for each in self._best() if self._is_open(each)), None)

    def _asked(self) -> Candidate | None:
        wanted = self._run.stores.candidates.wanted(self._run.job.id)
        return next((each for each in wanted if self._is_open(each)), None)

    def _is_open(self, candidate: Candidate) -> bool:
        return not candidate.finalist and candidate.number not in self._failures

    def _front(self) -> list[Candidate]:
        objective = self._profiled.spec.search.objectives[1]
        return self._run.stores.candidates.front(self._run.job.id, cost=objective)

    def _best(self) -> list[Candidate]:
        best = sorted(self._front(), key=lambda point: (-(point.accuracy or 0), point.flops))
        return best[: self._profiled.spec.finish.finalists]

    def _places_left(self) -> int:
        """How many more may be finished to find the answer; an extension has places of its own."""
        spec = self._profiled.spec
        before = Stretch.of(spec.search, self._run.job.extension).finalists
        finished = len(self._run.stores.candidates.finalists(self._run.job.id)) - before
        return spec.finish.finalists - finished - len(self._failures)

    def _still_to_do(self) -> int:
        """As far as can be told."""
        if self._drop is not None:
            own = max(0, self._places_left())
        else:
            own = sum(self._is_open(each) for each in self._best())
        return max(1, own)

    def _test_teacher(self) -> None:
        profile = self._profiled.profile
        teacher = profile["teacher"]
        if teacher["accuracy"] is not None and teacher["test_accuracy"] is None:
            measured = self._run.call("test_teacher", self._profiled.bench)
            self._run.update(profile=profile | {"teacher": teacher | measured})

    def _finish(self, candidate: Candidate, done: int) -> None:
        """Finish a candidate after `done` others; the most accurate of the front may teach it."""
        total = done + self._still_to_do()

        def on_event(event: dict[str, Any]) -> None:
            self._run.advance(Stage.FINISH, (done + event["done"]) / total)

        others = [_tried(other) for other in self._best() if other.number != candidate.number]
        payload = _tried(candidate) | {"others": others, "asked": candidate.wanted or {}}
        try:
            result = self._call_twice(payload, on_event)
        except (SearchError, ModelError) as error:
            self._fail(candidate, str(error))
        else:
            self._keep(candidate, result)

    def _tell_answer(self, drop: AccuracyDrop, finalists: Sequence[Candidate]) -> None:
        found = drop.answer(finalists)
        self._run.report(
            "answer",
            drop.told(finalists),
            level="info" if found else "warning",
            data={"trial": found and found.number, "least_accuracy": drop.least},
        )

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
        for refused in result["refused"]:
            self._run.report(
                "file_refused",
                f"trial {number}: {refused['reason']}",
                level="warning",
                data={"trial": number, "format": refused["format"]},
            )
        written = report(self._run, self._profiled, candidate, result)
        for artifact in (*result["artifacts"], *written):
            self._run.stores.artifacts.put(
                job,
                number,
                format=artifact["format"],
                sha256=artifact["sha256"],
                size_bytes=artifact["size_bytes"],
                filename=filename(job, number, artifact["format"]),
                details=artifact.get("details", {}),
            )
        self._run.stores.candidates.finish(
            job,
            number,
            finish_accuracy=result["finish_accuracy"],
            test_accuracy=result["test_accuracy"],
            compute=result["compute"],
            latencies=result["latencies"],
        )
        self._run.report(
            "finalist",
            f"trial {number} finished: validation accuracy {result['finish_accuracy']:.4f}, "
            f"test accuracy {result['test_accuracy']:.4f}",
            data={"trial": number, "test_accuracy": result["test_accuracy"]},
        )


def _tried(candidate: Candidate) -> dict[str, Any]:
    return {"plan": candidate.plan, "checkpoint": candidate.checkpoint}
