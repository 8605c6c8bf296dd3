"""The command line `pareconv`: which commands there are. What they do is in their own modules."""

from importlib.metadata import version
from typing import Annotated

import typer

from pareconv.service.cli import (
    catalog,
    doctor,
    jobs,
    libraries,
    measuring,
    serving,
    submission,
    tokens,
    uploads,
    watching,
)
from pareconv.service.cli.connection import (
    Connection,
    GlobalServer,
    GlobalToken,
    asking,
)
from pareconv.service.cli.failures import EPILOG, Commands
from pareconv.service.client import DEFAULT_SERVER

app = typer.Typer(
    name="pareconv",
    cls=Commands,
    help="Make a CNN smaller: a trained network and a budget in, a Pareto front out.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
libraries_group = typer.Typer(invoke_without_command=True)
uploads_group = typer.Typer(invoke_without_command=True)
database = typer.Typer(help="The database.", no_args_is_help=True)
keys = typer.Typer(help="Who may ask this machine's server.", no_args_is_help=True)


def _tell_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"pareconv {version('pareconv')}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version."),
]


@app.callback()
def _every_command(
    context: typer.Context,
    *,
    server: GlobalServer = DEFAULT_SERVER,
    token: GlobalToken = None,
    version: Version = False,  # noqa: ARG001 - its callback has answered
) -> None:
    context.obj = Connection(server, token)


_COMMANDS = (
    ("Jobs", submission.submit),
    ("Jobs", submission.inspect),
    ("Jobs", submission.bundle),
    ("Jobs", jobs.jobs),
    ("Jobs", watching.watch),
    ("Jobs", jobs.front),
    ("Jobs", jobs.download),
    ("Jobs", jobs.priority),
    ("Jobs", jobs.pause),
    ("Jobs", jobs.cancel),
    ("Jobs", jobs.resume),
    ("Jobs", jobs.extend),
    ("Jobs", jobs.finish),
    ("Jobs", jobs.delete),
    ("What there is", catalog.architectures),
    ("What there is", catalog.operators),
    ("What there is", catalog.methods),
    ("This machine", serving.serve),
    ("This machine", serving.worker),
    ("This machine", serving.gc),
    ("This machine", serving.demo),
    ("This machine", measuring.measure),
    ("This machine", doctor.doctor),
)

for _panel, _command in _COMMANDS:
    app.command(rich_help_panel=_panel)(asking(_command))
libraries_group.callback()(asking(libraries.libraries))
libraries_group.command("front")(asking(libraries.front))
app.add_typer(libraries_group, name="libraries", rich_help_panel="What there is")
uploads_group.callback()(asking(uploads.uploads))
uploads_group.command("delete")(asking(uploads.delete))
app.add_typer(uploads_group, name="uploads", rich_help_panel="What there is")
database.command("upgrade")(serving.upgrade)
app.add_typer(database, name="db", rich_help_panel="This machine")
keys.command("create")(tokens.create)
keys.command("list")(tokens.list_tokens)
keys.command("revoke")(tokens.revoke)
app.add_typer(keys, name="token", rich_help_panel="This machine")


def main() -> None:
    """The entry point of the script `pareconv`."""
    app()
