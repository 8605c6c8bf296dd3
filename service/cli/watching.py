"""Watching a job: live in a terminal, line by line elsewhere, across lost connections."""

import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import typer

from pareconv.service.cli.connection import (
    SAME_AS_GLOBAL,
    AsJson,
    JobId,
    Server,
    connect,
    write_json_line,
)
from pareconv.service.cli.failures import ExitCode, Failed
from pareconv.service.client import Client
from pareconv.service.client_errors import ClientError, is_passing
from pareconv.storage.job_states import TERMINAL, JobStatus

Json = dict[str, Any]

_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = 300.0
_SHOWN_EVENTS = 6


@dataclass(frozen=True, slots=True)
class Moment:
    """The job as it is now and what happened since the moment before."""

    job: Json
    events: list[Json]
    is_connected: bool = True


def watch(job: JobId, *, server: Server = SAME_AS_GLOBAL, as_json: AsJson = False) -> None:
    """Follow a job until it ends; Ctrl-C leaves it running.

    Example: pareconv watch 01J9ZK
    """
    with connect(server) as client:
        follow(client, job, as_json=as_json)


def follow(client: Client, job: str, *, as_json: bool = False) -> None:
    """Show the job until it ends, then its front. Raises Failed unless it succeeded."""
    from rich.console import Console

    console = Console()
    try:
        if as_json:
            last = _write_events(client, job)
        elif sys.stdout.isatty():
            last = _live(client, job, console)
        else:
            last = _lines(client, job)
    except KeyboardInterrupt:
        typer.echo(f"\nThe job goes on; come back with `pareconv watch {job}`", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    _conclude(client, last, as_json=as_json)


def moments(client: Client, job: str) -> Iterator[Moment]:
    """The job about once a second, the last one when it has ended and every event was seen.

    A server that is away for less than five minutes is waited for.
    """
    after, lost_at, known = 0, None, client.job(job)
    while True:
        try:
            known = client.job(job)
            events = client.events(job, after=after)["items"]
        except ClientError as error:
            lost_at = lost_at or time.monotonic()
            if not is_passing(error) or time.monotonic() - lost_at > _PATIENCE_SECONDS:
                raise
            yield Moment(known, [], is_connected=False)
        else:
            lost_at = None
            after = events[-1]["seq"] if events else after
            yield Moment(known, events)
            if events:
                continue  # there may be another page
            if known["status"] in TERMINAL:
                return
        time.sleep(_POLL_SECONDS)


def _write_events(client: Client, job: str) -> Json:
    last: Json = {}
    for moment in moments(client, job):
        last = moment.job
        for event in moment.events:
            write_json_line(event)
    return last


def _lines(client: Client, job: str) -> Json:
    last: Json = {}
    was_connected = True
    for moment in moments(client, job):
        last = moment.job
        for event in moment.events:
            typer.echo(event_line(event))
        if was_connected and not moment.is_connected:
            typer.echo("connection lost, trying again", err=True)
        was_connected = moment.is_connected
    return last


def _live(client: Client, job: str, console: Any) -> Json:
    from rich.live import Live

    from pareconv.service.cli.job_view import job_view

    last: Json = {}
    recent: deque[str] = deque(maxlen=_SHOWN_EVENTS)
    with Live(console=console, transient=True, refresh_per_second=4) as live:
        for moment in moments(client, job):
            last = moment.job
            recent.extend(map(event_line, moment.events))
            live.update(job_view(last, recent, is_connected=moment.is_connected))
    return last


def event_line(event: Json) -> str:
    mark = "" if event["level"] == "info" else f"{event['level']}: "
    moment = datetime.fromisoformat(event["created_at"]).astimezone()
    return f"{moment:%H:%M:%S} {mark}{event['message']}"


def _conclude(client: Client, job: Json, *, as_json: bool) -> None:
    status = job["status"]
    if status == JobStatus.FAILED:
        error = job["error"] or {}
        reason = error.get("detail") or error.get("title") or "no reason was recorded"
        raise Failed(
            f"job {job['id']} failed in {job['stage']}: {reason}; "
            f"after a repair go on with `pareconv resume {job['id']}`"
        )
    if status != JobStatus.SUCCEEDED:
        raise Failed(f"job {job['id']} was {status}; go on with `pareconv resume {job['id']}`")
    front = client.front(job["id"])
    if as_json:
        write_json_line(front)
        return
    from rich.console import Console

    from pareconv.service.cli.front_table import front_view

    Console().print(front_view(front, server=client.url))
