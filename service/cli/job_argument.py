"""The job that a command is about: by its id, or the latest."""

from collections.abc import Iterator
from typing import Annotated

import typer

from pareconv.service.cli.failures import BadInput
from pareconv.service.client import Client
from pareconv.service.remote.errors import ClientError
from pareconv.service.remote.job import Job

LATEST = "latest"


def job_of(client: Client, named: str) -> Job:
    """Raises BadInput where the latest is asked for and there is none."""
    if named != LATEST:
        return client.jobs.get(named)
    newest = client.jobs.page(limit=1).items
    if not newest:
        raise BadInput("there is no job yet; `pareconv submit` creates one")
    return newest[0]


def _known_jobs(context: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """What a shell completes: ids of the latest jobs, each with what it is; none in trouble."""
    typed, before = context.params, context.find_root().params
    server, token = (typed.get(name) or before.get(name) for name in ("server", "token"))
    try:
        with Client(server, token, timeout=2) as client:
            for job in client.jobs.page(limit=100).items:
                if job.id.startswith(incomplete):
                    yield job.id, f"{job.status}{f', {job.name}' if job.name else ''}"
    except (ClientError, ValueError):
        return


JobId = Annotated[
    str,
    typer.Argument(
        metavar="JOB", help="Its id, as `jobs` lists it, or `latest`.", autocompletion=_known_jobs
    ),
]
