"""The timeline of a job: its four stages, how far each is, when it began and ended. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pareconv.search.stages import SPANS
from pareconv.storage.job_states import ACTIVE, JobStatus, Stage
from pareconv.storage.jobs import Job

State = Literal["waiting", "running", "stopped", "done"]
Spans = Mapping[str, tuple[datetime, datetime]]

_ABOUT = {
    Stage.PROFILE: "teacher and data are loaded and measured",
    Stage.LIBRARY: "each option of each block is distilled and scored",
    Stage.SEARCH: "plans are tried",
    Stage.FINISH: "the best are trained longer, tested once, exported",
}
_SEARCHED = ("trial", "trial_failed", "reevaluated", "settled", "exhausted")


@dataclass(frozen=True, slots=True)
class StageView:
    """`done` is 0 to 1, `seconds` what it has taken as far as the events tell."""

    name: str
    about: str
    state: State
    done: float
    seconds: float | None


def timeline(job: Job, spans: Spans) -> list[StageView]:
    """`spans` are the first and the last moment of each type of event."""
    starts = _starts(job, spans)
    stages = list(Stage)
    now = job.finished_at or datetime.now(UTC)
    views = []
    for number, stage in enumerate(stages):
        state, done = _progress(job, stages, number)
        begun = starts.get(stage)
        ended = next((starts[s] for s in stages[number + 1 :] if s in starts), now)
        is_timed = begun is not None and state != "waiting"
        seconds = max(0.0, (ended - begun).total_seconds()) if begun and is_timed else None
        views.append(StageView(stage.value, _ABOUT[stage], state, done, seconds))
    return views


def _progress(job: Job, stages: list[Stage], number: int) -> tuple[State, float]:
    if job.status is JobStatus.SUCCEEDED:
        return "done", 1.0
    if job.stage is None or number > stages.index(job.stage):
        return "waiting", 0.0
    if number < stages.index(job.stage):
        return "done", 1.0
    low, high = SPANS[stages[number]]
    done = min(1.0, max(0.0, (job.progress - low) / (high - low)))
    return ("running" if job.status in ACTIVE else "stopped"), done


def _starts(job: Job, spans: Spans) -> dict[Stage, datetime]:
    found = {
        Stage.PROFILE: None if job.claims > 1 else job.started_at,
        Stage.LIBRARY: spans["profiled"][1] if "profiled" in spans else None,
        Stage.SEARCH: _first(spans, _SEARCHED),
        Stage.FINISH: _last(spans, _SEARCHED) if job.stage is Stage.FINISH else None,
    }
    return {stage: moment for stage, moment in found.items() if moment is not None}


def _first(spans: Spans, types: tuple[str, ...]) -> datetime | None:
    return min((spans[each][0] for each in types if each in spans), default=None)


def _last(spans: Spans, types: tuple[str, ...]) -> datetime | None:
    return max((spans[each][1] for each in types if each in spans), default=None)
