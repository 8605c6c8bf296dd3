"""One job as a live display: status, progress, trials, the best so far and the last events."""

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pareconv.service.cli.sparkline import front_line
from pareconv.service.figures import count, percent
from pareconv.service.views.front import ParetoView
from pareconv.service.views.job import JobView
from pareconv.storage.job_states import JobStatus


def job_view(
    job: JobView,
    recent: Iterable[str],
    *,
    front: ParetoView | None = None,
    is_connected: bool = True,
) -> RenderableType:
    """`recent` are the lines of the last events."""
    line = "" if front is None else front_line(front)
    lost = Text("connection lost, trying again", style="yellow")
    return Group(
        Text(_title(job), style="bold"),
        _bar(job),
        Text(" · ".join(_facts(job))),
        *((Text(line, no_wrap=True),) if line else ()),
        *(Text(each, style="dim", overflow="ellipsis", no_wrap=True) for each in recent),
        *((Text(how_to_go_on(job)),) if job.status is JobStatus.PAUSED else ()),
        *(() if is_connected else (lost,)),
    )


def how_to_go_on(job: JobView) -> str:
    """What to do for a job that is paused, which nothing else ends."""
    return f"The job is paused; `pareconv resume {job.id}` goes on with it"


def _title(job: JobView) -> str:
    stage = f", {job.stage}" if job.stage and job.status == "running" else ""
    name = f" {job.name}" if job.name else ""
    return f"Job {job.id}{name}: {job.status}{stage}"


def _bar(job: JobView) -> Table:
    row = Table.grid(padding=(0, 1))
    progress = job.progress or 0.0
    bar = ProgressBar(total=1.0, completed=progress, width=40)
    row.add_row(bar, f"{progress:.0%}", job.time_left)
    return row


def _facts(job: JobView) -> Iterator[str]:
    counts = job.counts
    wanted = job.spec.get("search", {}).get("trials")
    if extension := job.extension:
        wanted = extension.after + extension.trials
    done = counts.complete + counts.stopped + counts.failed
    yield f"trials {done}" + ("" if wanted is None else f"/{wanted}")
    if counts.failed:
        yield f"{counts.failed} failed"
    if job.teacher:
        yield f"teacher {percent(job.teacher.accuracy)}"
    if best := job.best:
        yield f"best {percent(best.accuracy)} at {count(best.flops + best.adds)} FLOPs"
