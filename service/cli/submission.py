"""Submitting: from the options of a command to a job, or to an inspection without one."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pareconv.search.assumptions import assumptions
from pareconv.search.spec import JobSpec
from pareconv.service.cli.connection import (
    SAME_AS_GLOBAL,
    AsJson,
    Server,
    connect,
    write_json,
    write_json_line,
)
from pareconv.service.cli.local_files import Answer, Json, send
from pareconv.service.cli.spec_options import SpecOptions, option_of, told, with_spec_options
from pareconv.service.cli.watching import follow
from pareconv.service.client import Client
from pareconv.service.remote.errors import ProblemError
from pareconv.service.remote.job import Job

Output = Annotated[Path, typer.Option("--output", "-o", help="Where to save it.")]
Priority = Annotated[int, typer.Option("--priority", help="Jobs of a higher one start first.")]
# Who only looks need not know yet.
_ANY_BUDGET: Json = {"budget": {"flops": "100%"}}
Watch = Annotated[bool, typer.Option("--watch", help="Follow the job until it ends.")]


def _sent(client: Client, spec: Json, post: Callable[[Json], Answer]) -> Answer:
    """As `send`, with fields at fault under the names of their options, too."""
    try:
        return send(client, spec, post)
    except ProblemError as problem:
        for error in problem.errors:
            if option := option_of(error["field"]):
                error["field"] = f"{option} ({error['field']})"
        raise


@with_spec_options
def submit(
    options: SpecOptions,
    *,
    priority: Priority = 0,
    watch: Watch = False,
    server: Server = SAME_AS_GLOBAL,
    as_json: AsJson = False,
) -> None:
    """Create a job. A teacher, data and a budget are enough.

    Example: pareconv submit --teacher cifar_resnet8 --data digits --budget-flops 50% --watch
    """
    with connect(server) as client:
        submit = partial(client.jobs.create, priority=priority)
        job = _sent(client, options.to_spec(), submit)
        if as_json:
            (write_json_line if watch else write_json)(job)
        else:
            _tell(job, client.url, watch=watch)
        if watch:
            follow(job, server=client.url, as_json=as_json)


def _tell(job: Job, server: str, *, watch: bool) -> None:
    follows = "" if watch else f"; `pareconv watch {job.id}` follows it"
    typer.echo(f"Job {job.id} is {job.status}{follows}")
    typer.echo(f"Page: {server}/ui/jobs/{job.id}")
    if watch and not sys.stdout.isatty():
        return  # they come among the events, which a live display cuts to a line each
    for each in assumptions(JobSpec.model_validate(job.spec)):
        typer.echo(told(each), err=True)


@with_spec_options
def bundle(
    options: SpecOptions,
    *,
    output: Output = Path("bundle.zip"),
    server: Server = SAME_AS_GLOBAL,
    as_json: AsJson = False,
) -> None:
    """Save what a job would have timed, to be timed on another device.

    Example: pareconv bundle --teacher cifar_resnet8 --data digits --budget-latency 60%
    """
    with connect(server) as client:
        path = _sent(client, options.to_spec(), lambda spec: client.latencies.bundle(spec, output))
    if as_json:
        write_json({"path": path, "bytes": path.stat().st_size})
    else:
        typer.echo(f"{path}: run `pareconv measure {path.name}` on the device")


@with_spec_options
def inspect(
    options: SpecOptions, *, server: Server = SAME_AS_GLOBAL, as_json: AsJson = False
) -> None:
    """Show blocks, options and reachable budgets, without a job.

    Example: pareconv inspect --teacher cifar_resnet8 --data digits --budget-flops 50%
    """
    spec = options.to_spec()
    with connect(server) as client:
        inspection = _sent(client, _ANY_BUDGET | spec, client.inspect)
    if as_json:
        write_json(inspection)
        return
    from rich.console import Console

    from pareconv.service.cli.inspection_table import inspection_view

    budget = spec.get("budget") or {}
    Console().print(
        inspection_view(
            inspection, has_budget="budget" in spec, has_latency=bool(budget.get("latency"))
        )
    )
