"""The finish stage: which candidates are finished, in which order, and what is kept of them."""

from collections.abc import Sequence
from typing import Any

from pareconv.models.errors import ModelError
from pareconv.search.accuracy_drop import AccuracyDrop
from pareconv.search.errors import JobFailed, SearchError, TaskDied
from pareconv.search.flights import Flights
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
        self._started: dict[int, Candidate] = {}
        self._own: set[int] = set()  # of these, those that the job chose itself
        self._shares: dict[int, float] = {}  # how far each that was started is
        self._died: set[int] = set()

    def finish(self) -> None:
        """Finish the most accurate of the front, or those by which it is decided who is the least
        costly within an accuracy drop; and whatever was asked for, also meanwhile.

        JobFailed where none of the front could be finished.
        """
        self._run.begin(Stage.FINISH)
        at_once = 1 if self._profiled.finishes_one_by_one else None
        with Flights[int](self._run, at_once) as flights:
            while True:
                while flights.has_room and (candidate := self._next(flights)) is not None:
                    self._start(candidate, flights)
                if not flights:
                    break
                self._land(flights)
        failures = [self._failures[each] for each in self._failures if each in self._own]
        failure = failures[-1] if failures else None
        finalists = self._run.stores.candidates.finalists(self._run.job.id)
        if failure is not None and not finalists:
            raise JobFailed(f"no finalist could be finished; the last one: {failure}")
        if self._drop is not None:
            self._tell_answer(self._drop, finalists)
        self._run.advance(Stage.FINISH, 1, later_s=0.0)

    def _next(self, flights: Flights[int]) -> Candidate | None:
        return self._chosen(flights) or self._asked(flights)

    def _chosen(self, flights: Flights[int]) -> Candidate | None:
        """The next by the job's own choice."""
        if self._drop is not None:
            is_left = self._places_left() > 0
            return self._drop.next(self._front(), self._failures) if is_left else None
        waiting = (each for each in self._best() if each.number not in flights)
        return next(filter(self._is_open, waiting), None)

    def _asked(self, flights: Flights[int]) -> Candidate | None:
        wanted = self._run.stores.candidates.wanted(self._run.job.id)
        waiting = (each for each in wanted if each.number not in flights)
        return next(filter(self._is_open, waiting), None)

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

    def _still_to_do(self, flights: Flights[int]) -> int:
        """How many are yet to be started, as far as can be told."""
        if self._drop is not None:
            return max(0, self._places_left() - len(flights))
        waiting = (each for each in self._best() if each.number not in flights)
        return sum(map(self._is_open, waiting))

    def _test_teacher(self) -> None:
        profile = self._profiled.profile
        teacher = profile["teacher"]
        if teacher["accuracy"] is not None and teacher["test_accuracy"] is None:
            measured = self._run.call("test_teacher", self._profiled.bench)
            self._run.update(profile=profile | {"teacher": teacher | measured})

    def _start(self, candidate: Candidate, flights: Flights[int]) -> None:
        """Have a candidate finished; the most accurate of the front may teach it."""
        number = candidate.number
        if not self._started:
            self._test_teacher()
        self._started[number] = candidate
        if candidate.wanted is None:
            self._own.add(number)

        def on_event(event: dict[str, Any]) -> None:
            self._shares[number] = event["done"]
            self._tell_progress(flights)

        others = [_tried(other) for other in self._best() if other.number != number]
        payload = _tried(candidate) | {"others": others, "asked": candidate.wanted or {}}
        self._shares[number] = 0.0
        flights.start(number, "finish", self._profiled.bench | payload, on_event=on_event)

    def _land(self, flights: Flights[int]) -> None:
        """A process that dies may have been unlucky; one that dies twice was not."""
        landed = flights.land()
        candidate = self._started[landed.key]
        try:
            result = landed.result()
        except TaskDied as error:
            if landed.key in self._died:
                self._fail(candidate, str(error))
            else:
                self._died.add(landed.key)
                self._run.report_death("finish", error, trial=landed.key)
                self._start(candidate, flights)
        except (SearchError, ModelError) as error:
            self._fail(candidate, str(error))
        else:
            self._keep(candidate, result)
        if landed.key not in flights:
            self._shares[landed.key] = 1.0

    def _tell_progress(self, flights: Flights[int]) -> None:
        waiting = self._still_to_do(flights)
        total = len(self._shares) + waiting
        self._run.advance(Stage.FINISH, sum(self._shares.values()) / total, later_s=0.0)

    def _tell_answer(self, drop: AccuracyDrop, finalists: Sequence[Candidate]) -> None:
        found = drop.answer(finalists)
        self._run.report(
            "answer",
            drop.told(finalists),
            level="info" if found else "warning",
            data={"trial": found and found.number, "least_accuracy": drop.least},
        )

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
            f"trial {number} finished: validation accuracy {result['finish_accuracy']:.1%}, "
            f"test accuracy {result['test_accuracy']:.1%}",
            data={"trial": number, "test_accuracy": result["test_accuracy"]},
        )


def _tried(candidate: Candidate) -> dict[str, Any]:
    return {"plan": candidate.plan, "checkpoint": candidate.checkpoint}
