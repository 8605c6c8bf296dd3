"""Watching a job: live in a terminal, line by line elsewhere, across lost connections."""

import sys
import time
from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING

import typer

from pareconv.service.cli.connection import (
    SAME_AS_GLOBAL,
    AsJson,
    Server,
    connect,
    write_json_line,
)
from pareconv.service.cli.failures import ExitCode
from pareconv.service.cli.job_argument import JobId, job_of
from pareconv.service.remote.errors import ClientError, JobEnded, is_passing
from pareconv.service.remote.front import Front
from pareconv.service.remote.job import Job
from pareconv.storage.job_states import JobStatus

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN_EVENTS = 6
_QUIET_SECONDS = 20.0


def watch(job: JobId, *, server: Server = SAME_AS_GLOBAL, as_json: AsJson = False) -> None:
    """Follow a job until it ends; Ctrl-C leaves it running.

    Example: pareconv watch 0sgnepxstxyd494rbccfs0gw53
    """
    with connect(server) as client:
        follow(job_of(client, job), server=client.url, as_json=as_json)


def follow(job: Job, *, server: str, as_json: bool = False) -> None:
    """Show the job until it ends, then its front. Raises JobEnded unless it succeeded."""
    from rich.console import Console

    console = Console()
    try:
        if as_json:
            last = _write_events(job)
        elif sys.stdout.isatty():
            last = _live(job, console)
        else:
            last = _lines(job)
    except KeyboardInterrupt:
        typer.echo(f"\nThe job goes on; come back with `pareconv watch {job.id}`", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    _conclude(last, server=server, as_json=as_json)


def _write_events(job: Job) -> Job:
    last = job
    for moment in job.moments():
        last = moment.job
        for event in moment.events:
            write_json_line(event)
    return last


def _lines(job: Job) -> Job:
    """Its events, and how far it is where nothing happens for a while."""
    from pareconv.service.cli.job_view import how_to_go_on

    last, told = job, time.monotonic()
    was_connected, was_paused = True, False
    for moment in job.moments():
        last = moment.job
        if was_connected and not moment.is_connected:
            typer.echo("connection lost, trying again", err=True)
        if moment.is_connected and not was_connected:
            typer.echo("connected again", err=True)
        was_connected = moment.is_connected
        for event in moment.events:
            typer.echo(str(event))
        now = time.monotonic()
        if moment.events:
            told = now
        elif moment.is_connected and _is_at_work(last) and now - told >= _QUIET_SECONDS:
            typer.echo(f"{datetime.now():%H:%M:%S} {_how_far(last)}")
            told = now
        is_paused = last.status is JobStatus.PAUSED
        if is_paused and not was_paused:
            typer.echo(how_to_go_on(last), err=True)
        was_paused = is_paused
    return last


def _live(job: Job, console: "Console") -> Job:
    from rich.live import Live

    from pareconv.service.cli.job_view import job_view

    last = job
    front: Front | None = None
    recent: deque[str] = deque(maxlen=_SHOWN_EVENTS)
    with Live(console=console, transient=True, refresh_per_second=4) as live:
        try:
            for moment in job.moments():
                last = moment.job
                recent.extend(map(str, moment.events))
                if moment.events:
                    front = _front_of(last) or front
                live.update(job_view(last, recent, front=front, is_connected=moment.is_connected))
        except KeyboardInterrupt:
            live.transient = False  # how it stood stays to be read
            raise
    return last


def _front_of(job: Job) -> Front | None:
    """None where the server is away for a moment, which the next look at the job tells."""
    try:
        return job.front()
    except ClientError as error:
        if not is_passing(error):
            raise
        return None


def _is_at_work(job: Job) -> bool:
    return job.stage is not None and job.status is not JobStatus.PAUSED


def _how_far(job: Job) -> str:
    left = f", {job.time_left}" if job.time_left else ""
    return f"{job.progress:.0%} of the job is done, now in its stage {job.stage}{left}"


def _conclude(job: Job, *, server: str, as_json: bool) -> None:
    if job.status is not JobStatus.SUCCEEDED:
        raise JobEnded(job)
    front = job.front()
    if as_json:
        write_json_line(front)
        return
    from rich.console import Console

    from pareconv.service.cli.front_table import front_view

    Console().print(front_view(front, server=server))
