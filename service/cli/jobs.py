"""The commands on jobs that exist: list, front, download, pause, cancel, resume, ..."""

from pathlib import Path
from typing import Annotated

import typer

from pareconv.service.cli.connection import (
    SAME_AS_GLOBAL,
    AsJson,
    Server,
    connect,
    write_json,
)
from pareconv.service.cli.job_argument import JobId, job_of
from pareconv.service.figures import age, counted, percent, size_of
from pareconv.service.remote.job import Job
from pareconv.service.typed_values import names
from pareconv.storage.job_states import ACTIVE, JobStatus

Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="Jobs to list.")]
Status = Annotated[str | None, typer.Option("--status", help="Only jobs of this status.")]
Full = Annotated[bool, typer.Option("--full", help="Print plans block by block.")]
Objectives = Annotated[
    str | None,
    typer.Option(
        "--objectives", metavar="A,B", help="Such as accuracy,params; default: the job's own."
    ),
]
Trial = Annotated[
    int | None, typer.Option("--trial", help="Only this one; default: all finalists.")
]
Format = Annotated[
    str | None, typer.Option("--format", help="Only this one, such as onnx or report.")
]
To = Annotated[
    Path,
    typer.Option("--to", metavar="DIR", help="Folder to save in."),
]
Trials = Annotated[int, typer.Option("--trials", min=1, help="Plans to try beyond those tried.")]
TimeLimit = Annotated[
    float | None,
    typer.Option("--time-limit", metavar="SECONDS", help="No new trial starts after so long."),
]
TrialNumber = Annotated[
    int, typer.Argument(metavar="TRIAL", min=0, help="Its number, as `front` shows it.")
]
Priority = Annotated[int, typer.Argument(metavar="N", help="Higher ones go first; 0 by default.")]
Epochs = Annotated[
    float | None, typer.Option("--epochs", help="Of its training; default: the job's own.")
]
Formats = Annotated[
    str | None,
    typer.Option(
        "--formats",
        metavar="A,B",
        help="Of pt2, onnx, onnx-int8, safetensors, report; default: the job's own.",
    ),
]

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")]


def jobs(
    *,
    limit: Limit = 20,
    status: Status = None,
    server: Server = SAME_AS_GLOBAL,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first.

    Example: pareconv jobs --status running
    """
    with connect(server) as client:
        page = client.jobs.page(limit=limit, status=status)
    if as_json:
        write_json(page)
    elif page.items:
        _print_jobs(page.items)
    else:
        typer.echo("No jobs; `pareconv submit` creates one.")


def _print_jobs(items: list[Job]) -> None:
    from pareconv.service.cli.tables import print_list

    titles = ("Job", "Name", "Status", "Best", "Age")
    print_list(titles, map(_row, items), folding={"Name"})


def _row(job: Job) -> tuple[str, ...]:
    best = percent(job.best.accuracy if job.best else None)
    return (job.id, job.name or "", _status(job), best, age(job.created_at))


def _status(job: Job) -> str:
    """Short, so that the name has room: of a job that runs, where it is."""
    if job.status is JobStatus.RUNNING and job.stage:
        return f"{job.stage} {percent(job.progress, digits=0)}"
    return job.status


def front(
    job: JobId,
    *,
    full: Full = False,
    objectives: Objectives = None,
    server: Server = SAME_AS_GLOBAL,
    as_json: AsJson = False,
) -> None:
    """Show a job's Pareto front so far.

    Example: pareconv front 0sgnepxstxyd494rbccfs0gw53 --full
    """
    with connect(server) as client:
        found = job_of(client, job).front(objectives=objectives)
        if as_json:
            write_json(found)
            return
        from rich.console import Console

        from pareconv.service.cli.front_table import front_view

        Console().print(front_view(found, server=client.url, full=full))


def download(
    job: JobId,
    *,
    trial: Trial = None,
    format: Format = None,
    to: To = Path(),
    server: Server = SAME_AS_GLOBAL,
    as_json: AsJson = False,
) -> None:
    """Save the files of finalists.

    Example: pareconv download 0sgnepxstxyd494rbccfs0gw53 --trial 7 --format onnx
    """
    with connect(server) as client:
        known = job_of(client, job)
        paths = known.download(to, trial=trial, format=format)
        students = known.students()
    if as_json:
        write_json([{"path": path, "bytes": path.stat().st_size} for path in paths])
        return
    for path in paths:
        typer.echo(f"{path} ({size_of(path.stat().st_size)})")
    for each in students:
        if trial in {None, each.trial}:
            cost = percent(each.flops_ratio, digits=0)
            typer.echo(f"Trial {each.trial}: {percent(each.test_accuracy)} on test, FLOPs {cost}")
    typer.echo(f"How to load them: {client.url}/ui/jobs/{known.id}/students")


def cancel(job: JobId, *, server: Server = SAME_AS_GLOBAL, as_json: AsJson = False) -> None:
    """Stop a job; what it found so far is kept.

    Example: pareconv cancel 0sgnepxstxyd494rbccfs0gw53
    """
    with connect(server) as client:
        _tell(job_of(client, job).cancel(), as_json=as_json)


def pause(job: JobId, *, server: Server = SAME_AS_GLOBAL, as_json: AsJson = False) -> None:
    """Stop a job for now; `resume` goes on with it.

    Example: pareconv pause 0sgnepxstxyd494rbccfs0gw53
    """
    with connect(server) as client:
        _tell(job_of(client, job).pause(), as_json=as_json)


def priority(
    job: JobId, priority: Priority, *, server: Server = SAME_AS_GLOBAL, as_json: AsJson = False
) -> None:
    """Change the priority of a job that waits; below 0 after `--`.

    Example: pareconv priority 0sgnepxstxyd494rbccfs0gw53 5
    """
    with connect(server) as client:
        _tell(job_of(client, job).prioritize(priority), as_json=as_json)


def resume(job: JobId, *, server: Server = SAME_AS_GLOBAL, as_json: AsJson = False) -> None:
    """Go on with a paused, failed or cancelled job.

    Example: pareconv resume 0sgnepxstxyd494rbccfs0gw53
    """
    with connect(server) as client:
        _tell(job_of(client, job).resume(), as_json=as_json)


def extend(
    job: JobId,
    *,
    trials: Trials,
    time_limit: TimeLimit = None,
    server: Server = SAME_AS_GLOBAL,
    as_json: AsJson = False,
) -> None:
    """Let a job that has succeeded search on.

    Example: pareconv extend 0sgnepxstxyd494rbccfs0gw53 --trials 40
    """
    with connect(server) as client:
        _tell(job_of(client, job).extend(trials, time_limit_s=time_limit), as_json=as_json)


def finish(
    job: JobId,
    trial: TrialNumber,
    *,
    epochs: Epochs = None,
    formats: Formats = None,
    server: Server = SAME_AS_GLOBAL,
    as_json: AsJson = False,
) -> None:
    """Have one more trial trained longer, tested and exported.

    Example: pareconv finish 0sgnepxstxyd494rbccfs0gw53 7 --formats onnx
    """
    with connect(server) as client:
        named = None if formats is None else names(formats)
        asked = job_of(client, job).finish(trial, epochs=epochs, formats=named)
    _tell(asked, as_json=as_json)
    if asked.status is JobStatus.SUCCEEDED and not as_json:  # nothing was left to do
        typer.echo(
            f"Trial {trial} is finished: `pareconv download {asked.id} --trial {trial}` saves it"
        )


def delete(
    job: JobId, *, yes: Yes = False, server: Server = SAME_AS_GLOBAL, as_json: AsJson = False
) -> None:
    """Forget a job that is not running, with its trials, events and study.

    Example: pareconv delete 0sgnepxstxyd494rbccfs0gw53
    """
    with connect(server) as client:
        known = job_of(client, job)
        if not yes and known.status not in ACTIVE:  # which the server refuses
            named = f" ({known.name})" if known.name else ""
            trials = counted(known.counts.complete, "complete trial")
            typer.confirm(f"Delete job {known.id}{named} with {trials}?", abort=True, err=True)
        known.delete()
    if as_json:
        write_json({"deleted": known.id})
    else:
        typer.echo(f"Job {known.id} is deleted")


def _tell(job: Job, *, as_json: bool) -> None:
    if as_json:
        write_json(job)
    else:
        typer.echo(f"Job {job.id} is {job.status}")
