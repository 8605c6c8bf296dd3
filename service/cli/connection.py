"""The connection of a command: which server it asks, and its answer as JSON."""

import json
from typing import Annotated, Any

import typer

from pareconv.service.client import Client

DEFAULT_SERVER = "http://127.0.0.1:8000"
# What a command's own --server is when it was not given there.
SAME_AS_GLOBAL = ""


def _or_global(context: typer.Context, server: str) -> str:
    """`pareconv --server URL jobs` and `pareconv jobs --server URL` are the same."""
    chosen: str = server or context.find_root().obj
    return chosen


GlobalServer = Annotated[
    str, typer.Option("--server", envvar="PARECONV_SERVER", help="URL of the server to ask.")
]
Server = Annotated[
    str,
    typer.Option(
        "--server", help="URL of the server to ask.", callback=_or_global, show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job, as `jobs` lists it.")]


def connect(server: str) -> Client:
    return Client(server)


def write_json(answer: Any) -> None:
    typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))


def write_json_line(answer: Any) -> None:
    """One line per value, for programs that read while the job runs."""
    typer.echo(json.dumps(answer, ensure_ascii=False))
