"""The search stage: choose a plan, try it, remember, until enough plans were tried."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict

from pareconv.models.errors import ModelError
from pareconv.models.plan import Plan
from pareconv.search.chooser import Choice, Chooser, End, problem_of
from pareconv.search.claim import LeaseLost, Stop
from pareconv.search.contested import Contested
from pareconv.search.errors import (
    Diverged,
    InvalidSpec,
    JobFailed,
    TaskDied,
    TaskFailed,
    TaskTimeout,
)
from pareconv.search.flights import Flights, Landed
from pareconv.search.history import DIED, History
from pareconv.search.mirror import Mirror
from pareconv.search.preparing import Prepared
from pareconv.search.register import Register
from pareconv.search.run import Profiled, Run
from pareconv.search.rungs import Rung
from pareconv.search.stretch import Stretch
from pareconv.storage import logs
from pareconv.storage.candidates import Candidate
from pareconv.storage.errors import FilesError
from pareconv.storage.job_states import Stage


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
        self._stretch = Stretch.of(profiled.spec.search, run.job.extension)
        self._history = History(self._stretch, self._problem.objective)
        self._register = Register(run, self._history, self._problem.table.teacher)
        self._chooser = Chooser(profiled, prepared, self._history, self._stretch)
        self._contested = Contested(self._history, profiled.spec.search.repeats)
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
                self._register.interrupt(str(stop))
                self._mirror.sync(self._history.candidates)
                raise
            self._mirror.sync(self._history.candidates)
        if not self._history.front():
            raise JobFailed(self._why_nothing())

    def _take_up(self) -> None:
        """Go on after an interruption, learning from what is complete."""
        self._register.take_up()
        for candidate in self._history.candidates:
            self._chooser.observe(candidate)
        self._mirror.sync(self._history.candidates)
        self._run.begin(Stage.SEARCH, self._share_done)

    def _explore(self) -> None:
        with Flights[int](self._run) as flights:
            while True:
                end = None
                while flights.has_room and self._is_in_time():
                    following = self._chooser.next()
                    if isinstance(following, End):
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
                    candidate = self._contested.next(flights)
                    if candidate is None:
                        break
                    self._send(candidate, flights, attempt=candidate.evaluations)
                if not flights:
                    break
                self._average_in(flights.land())
                self._run.advance(Stage.SEARCH, 1.0, self._later_s())

    @property
    def _share_done(self) -> float:
        return self._history.new_ended / self._stretch.trials

    def _later_s(self) -> float | None:
        """What comes after the trials should take, in seconds: evaluating again who is contested,
        and the finish; for each epoch what those of the front took for one.
        """
        took = [each.seconds / each.evaluations for each in self._history.front() if each.seconds]
        if not took:
            return None
        spec, slots = self._profiled.spec, self._run.executor.slots
        at_once = 1 if self._profiled.finishes_one_by_one else slots
        finishes = math.ceil(spec.finish.finalists / at_once)
        again = math.ceil(self._contested.evaluations_left / slots)
        epochs = again * spec.distill.epochs + finishes * spec.finish.epochs
        return epochs * statistics.mean(took) / spec.distill.epochs

    def _is_in_time(self) -> bool:
        """Whether the slots have not been busy for as long as they may be."""
        limit = self._stretch.time_limit_s
        return limit is None or self._history.seconds / self._run.executor.slots < limit

    def _start(self, chosen: Choice, flights: Flights[int]) -> None:
        plan = chosen.plan
        cost = self._problem.table.cost(plan)
        bar = self._history.bar(cost)
        predicted = self._prepared.solver.predict(plan) if self._prepared else None
        candidate = self._register.begin(plan, cost, predicted=predicted, repeats=chosen.repeats)
        self._chooser.expect(plan)
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
        number = landed.key
        self._chooser.expect_no_more(Plan.from_json(self._history.candidates[number].plan))
        try:
            measured = landed.result()
        except TaskDied as error:
            self._register.fail(number, f"{DIED}{error}")
        except TaskTimeout:
            self._register.fail(number, self._too_slow())
        except Diverged as error:
            self._register.fail(number, str(error), error.compute)
        except (TaskFailed, ModelError) as error:
            self._register.fail(number, str(error))
        else:
            self._chooser.observe(self._register.end(number, measured))
        self._run.advance(Stage.SEARCH, self._share_done, self._later_s())

    def _average_in(self, landed: Landed[int]) -> None:
        """Average the accuracy with that of a training in another order of the images."""
        try:
            measured = landed.result()
        except (TaskDied, Diverged, TaskFailed, ModelError) as error:
            self._contested.give_up(landed.key)
            message = f"trial {landed.key} could not be evaluated again: {error}"
            self._run.report("trial_failed", message, level="warning")
        else:
            self._register.average_in(landed.key, measured)

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
