"""The connection of a command: which server it asks, by which token, and its answer as JSON."""

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from pydantic_core import to_json

from pareconv.service.cli.failures import BadInput
from pareconv.service.client import Client

# What a command's own --server and --token are when they were not given there.
SAME_AS_GLOBAL = ""


@dataclass
class Connection:
    """What the options before a command say, for the commands that say nothing else."""

    server: str
    token: str | None


def _or_global(context: typer.Context, server: str) -> str:
    """`pareconv --server URL jobs` and `pareconv jobs --server URL` are the same."""
    chosen: str = server or context.find_root().obj.server
    return chosen


def _or_global_token(context: typer.Context, token: str) -> str | None:
    known: Connection = context.find_root().obj
    known.token = token or known.token  # `libraries --token TOKEN front` means it too
    return known.token


GlobalServer = Annotated[
    str, typer.Option("--server", envvar="PARECONV_SERVER", help="URL of the server to ask.")
]
GlobalToken = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="PARECONV_TOKEN",
        help="Token to ask with; the variable keeps it out of the list of processes.",
    ),
]
Server = Annotated[
    str,
    typer.Option(
        "--server", help="URL of the server to ask.", callback=_or_global, show_default=False
    ),
]
Token = Annotated[
    str,
    typer.Option(
        "--token",
        help="Token to ask with, where the server asks for one.",
        callback=_or_global_token,
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


_token: ContextVar[str | None] = ContextVar("token", default=None)


def asking(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that has `--server` a `--token` too, which `connect` sends along."""
    signature = inspect.signature(command)
    if "server" not in signature.parameters:
        return command
    own = inspect.Parameter(
        "token", inspect.Parameter.KEYWORD_ONLY, default=SAME_AS_GLOBAL, annotation=Token
    )

    @functools.wraps(command)
    def with_token(*arguments: Any, token: str | None, **options: Any) -> None:
        _token.set(token)
        command(*arguments, **options)

    parameters = [*signature.parameters.values(), own]
    with_token.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=parameters
    )
    return with_token


def connect(server: str) -> Client:
    try:
        return Client(server, _token.get())
    except ValueError as error:
        raise BadInput(f"--token: {error}") from error


def write_json(answer: Any) -> None:
    """A model, a dataclass, or plain values of them."""
    typer.echo(to_json(answer, indent=2).decode())


def write_json_line(answer: Any) -> None:
    """One line per value, for programs that read while the job runs."""
    typer.echo(to_json(answer).decode())
