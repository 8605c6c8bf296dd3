"""A job of a server: how it was when it was read, and what can be done with it."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from pydantic import PrivateAttr

from pareconv.service.remote.connection import Connection, given, parsed, path_of
from pareconv.service.remote.errors import ClientError, JobEnded, NoSuchFile, is_passing
from pareconv.service.remote.front import Front
from pareconv.service.views.event import EventPage, EventView
from pareconv.service.views.front import Point
from pareconv.service.views.job import JobView
from pareconv.service.views.page import Page
from pareconv.service.views.trial import TrialView
from pareconv.storage.job_states import TERMINAL, JobStatus

J = TypeVar("J", bound="Job")
OnEvent = Callable[[EventView], object]

_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Moment(Generic[J]):
    """A job as it is now and what happened since the moment before."""

    job: J
    events: list[EventView]
    is_connected: bool = True


class Job(JobView):
    """A job as it was when it was read; what is asked of it gives it as it is then."""

    _connection: Connection = PrivateAttr()

    @classmethod
    def of(cls, answer: Any, connection: Connection) -> Self:
        """From a server's answer."""
        return parsed(cls, answer).joined(connection)

    def joined(self, connection: Connection) -> Self:
        """The same, which asks over this connection."""
        self._connection = connection
        return self

    @classmethod
    def fetch(cls, connection: Connection, id: str) -> Self:
        return cls.of(connection.get(path_of("jobs", id)), connection)

    def refresh(self) -> Self:
        """The job as it is now."""
        return self.fetch(self._connection, self.id)

    def wait(
        self, *, on_event: OnEvent | None = None, after: int = 0, timeout: float | None = None
    ) -> Self:
        """The job once it has succeeded; `on_event` hears of everything that happens until then,
        from the event `after` on.

        Raises JobEnded where it failed or was cancelled, and TimeoutError after `timeout` seconds
        without an end, which leaves it running. For a server that is away see `moments`.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        last = self
        for moment in self.moments(after=after):
            last = moment.job
            if on_event is not None:
                for event in moment.events:
                    on_event(event)
            if deadline is not None and last.status not in TERMINAL and time.monotonic() > deadline:
                raise TimeoutError(f"job {self.id} has not ended after {timeout:g} s; it goes on")
        if last.status is not JobStatus.SUCCEEDED:
            raise JobEnded(last)
        return last

    def watch(self, *, after: int = 0) -> Iterator[EventView]:
        """Events as they happen, each once, until the job has ended."""
        for moment in self.moments(after=after):
            yield from moment.events

    def moments(
        self, *, after: int = 0, patience_seconds: float = _PATIENCE_SECONDS
    ) -> Iterator[Moment[Self]]:
        """The job about once a second, the last one when it has ended and every event was seen.

        A server that is away is waited for; ServerUnreachable, or the ProblemError of a proxy, is
        raised when that has lasted `patience_seconds`.
        """
        known, lost_at = self, None
        while True:
            try:
                known = known.refresh()  # before its events: they tell its end
                page = known.events(after=after)
            except ClientError as error:
                lost_at = lost_at or time.monotonic()
                if not is_passing(error) or time.monotonic() - lost_at > patience_seconds:
                    raise
                yield Moment(known, [], is_connected=False)
            else:
                lost_at = None
                after = page.items[-1].seq if page.items else after
                yield Moment(known, page.items)
                if page.next is not None:
                    continue
                if known.status in TERMINAL:
                    return
            time.sleep(_POLL_SECONDS)

    def events(self, *, after: int = 0) -> EventPage:
        """One page of events with a `seq` above `after`, oldest first."""
        return parsed(EventPage, self._get("events", after=after))

    def front(self, *, objectives: str | None = None) -> Front:
        """The Pareto front so far; `objectives` is such as `accuracy,params`."""
        return parsed(Front, self._get("pareto", objectives=objectives))

    def students(self) -> list[Point]:
        """Every trial that was finished, on the front or not, with its files."""
        return parsed(Page[Point], self._get("students")).items

    def trials(self) -> list[TrialView]:
        """Every candidate, whatever became of it."""
        items: list[TrialView] = []
        cursor: str | None = None
        while True:
            page = parsed(Page[TrialView], self._get("trials", cursor=cursor))
            items += page.items
            cursor = page.next
            if cursor is None:
                return items

    def download(
        self, to: str | Path, *, trial: int | None = None, format: str | None = None
    ) -> list[Path]:
        """Save the files of the finished trials in the folder `to`, or only of that trial, only of
        that format.

        Raises NoSuchFile, which says what there is, where that is none, and DamagedDownload, which
        keeps nothing of that file, where the bytes that arrived are others than were stored.
        """
        files = [
            (student.trial, file.format)
            for student in self.students()
            for file in student.artifacts
        ]
        wanted = [
            (number, name)
            for number, name in files
            if trial in {None, number} and format in {None, name}
        ]
        if not wanted:
            raise NoSuchFile(self.id, [f"trial {number} {name}" for number, name in files])
        return [self._save(number, name, Path(to)) for number, name in wanted]

    def pause(self) -> Self:
        return self._asked("pause")

    def cancel(self) -> Self:
        return self._asked("cancel")

    def resume(self) -> Self:
        return self._asked("resume")

    def prioritize(self, priority: int) -> Self:
        """Give a queued job another priority."""
        answer = self._connection.patch(path_of("jobs", self.id), json={"priority": priority})
        return self.of(answer, self._connection)

    def extend(self, trials: int, *, time_limit_s: float | None = None) -> Self:
        """Have a job that has succeeded try so many more plans."""
        return self._asked("extend", json=given({"trials": trials, "time_limit_s": time_limit_s}))

    def finish(
        self, trial: int, *, epochs: float | None = None, formats: Sequence[str] | None = None
    ) -> Self:
        """Have one more trial finished; the answer is its job, which `wait` follows."""
        asked: dict[str, Any] = {"trial": trial, **given({"epochs": epochs})}
        if formats is not None:
            asked["formats"] = list(formats)
        return self._asked("students", json=asked)

    def delete(self) -> None:
        self._connection.delete(path_of("jobs", self.id))

    def _get(self, part: str, **query: Any) -> Any:
        return self._connection.get(path_of("jobs", self.id, part), **query)

    def _asked(self, what: str, **options: Any) -> Self:
        answer = self._connection.post(path_of("jobs", self.id, what), **options)
        return self.of(answer, self._connection)

    def _save(self, trial: int, format: str, to: Path) -> Path:
        path = path_of("jobs", self.id, "students", str(trial), format)
        return self._connection.save(path, to, name=f"student-{trial}.{format}")
