"""The timeline of a job: its four stages, how far each is and how long it took. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pareconv.search.stages import SPANS
from pareconv.storage.job_states import ACTIVE, JobStatus, Stage
from pareconv.storage.jobs import Job

State = Literal["waiting", "running", "stopped", "done"]

_ABOUT = {
    Stage.PROFILE: "teacher and data are loaded and measured",
    Stage.LIBRARY: "each option of each block is distilled and scored",
    Stage.SEARCH: "plans are tried",
    Stage.FINISH: "the best are trained longer, tested once, exported",
}


@dataclass(frozen=True, slots=True)
class StageView:
    """`done` is 0 to 1, `seconds` what it has taken, None where that was not counted."""

    name: str
    about: str
    state: State
    done: float
    seconds: float | None


def timeline(job: Job, seconds: Mapping[str, float]) -> list[StageView]:
    """`seconds` are those that each stage was worked on."""
    stages = list(Stage)
    views = []
    for number, stage in enumerate(stages):
        state, done = _progress(job, stages, number)
        took = None if state == "waiting" else seconds.get(stage.value)
        views.append(StageView(stage.value, _ABOUT[stage], state, done, took))
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
