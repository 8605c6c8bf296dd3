"""The commands that run something on this machine: server, worker, migration, demo."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pareconv.service.cli.connection import AsJson, write_json
from pareconv.service.cli.failures import BadInput, ExitCode
from pareconv.service.figures import size_of

# The defaults are those of the settings, told here: reading them takes a while.
Host = Annotated[
    str | None, typer.Option("--host", help="Address to listen on.", show_default="127.0.0.1")
]
Port = Annotated[int | None, typer.Option("--port", help="Port to listen on.", show_default="8000")]
Workers = Annotated[
    int | None,
    typer.Option("--workers", help="Worker processes; 0 only answers requests.", show_default="1"),
]
Home = Annotated[
    Path | None,
    typer.Option(
        "--home", help="Folder of the database and the artifacts.", show_default="~/.pareconv"
    ),
]
DemoHome = Annotated[
    Path | None,
    typer.Option(
        "--home", help="Folder of everything that it makes.", show_default="a new temporary one"
    ),
]
Once = Annotated[bool, typer.Option("--once", help="End after one job.")]
IdleExit = Annotated[
    float | None,
    typer.Option("--idle-exit", min=0, help="End when no job came for so many seconds."),
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="`cpu` or `cuda:<number>`: where jobs of device `auto` run."),
]
Heartbeat = Annotated[
    Path | None,
    typer.Option("--heartbeat", help="File to touch at least every 10 s while all is well."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed.")]
Grace = Annotated[
    float, typer.Option("--grace-hours", min=0, help="How young a file is spared, in hours.")
]
To = Annotated[
    Path | None, typer.Option("--to", help="Folder for the downloads; default: demo in the home.")
]


def serve(
    *, host: Host = None, port: Port = None, workers: Workers = None, home: Home = None
) -> None:
    """Run the server and its workers until Ctrl-C.

    Example: pareconv serve --port 8080

    Options override the PARECONV_... variables of the environment.
    """
    from pareconv.service import server
    from pareconv.service.errors import CannotListen, Unguarded
    from pareconv.service.settings import ServiceSettings
    from pareconv.storage import logs

    given: dict[str, Any] = {"host": host, "port": port, "workers": workers, "home": home}
    settings = ServiceSettings(
        **{name: value for name, value in given.items() if value is not None}
    )

    def on_listening(address: str) -> None:
        logs.set_up(settings.log_format, settings.log_level)
        typer.echo(f"Pareconv at {address}, its calls at {address}/docs, home {settings.home}")
        typer.echo("Ctrl-C stops it; unfinished jobs go on at the next start.")

    try:
        server.serve(settings, on_listening)
    except (CannotListen, Unguarded) as error:
        raise BadInput(str(error)) from error


def worker(
    *,
    once: Once = False,
    idle_exit: IdleExit = None,
    device: Device = None,
    heartbeat: Heartbeat = None,
) -> None:
    """Run one more worker on the same database and artifacts.

    Example: pareconv worker --idle-exit 60

    SIGTERM or Ctrl-C ends it within seconds; it gives its job back, and another goes on with it.
    """
    command = [sys.executable, "-P", "-m", "pareconv.search.worker"]
    given = {"--idle-exit": idle_exit, "--device": device, "--heartbeat": heartbeat}
    for name, value in given.items():
        command += [] if value is None else [name, str(value)]
    command += ["--once"] if once else []
    # The worker loads torch, which this program must not: it becomes that process.
    os.execv(sys.executable, command)


def upgrade() -> None:
    """Bring the database to this version's schema.

    Example: pareconv db upgrade
    """
    from pareconv.storage.database import Database
    from pareconv.storage.settings import Settings

    database = Database(Settings().database)
    try:
        database.migrate()
        typer.echo(f"The database is at revision {database.revision()}")
    finally:
        database.close()


def gc(*, dry_run: DryRun = False, grace_hours: Grace = 24.0, as_json: AsJson = False) -> None:
    """Remove stored files that nothing refers to any more; servers and workers may run meanwhile.

    Example: pareconv gc --dry-run

    What was stored within the grace, or since the oldest running job began, stays: it may be about
    to be referred to.
    """
    from datetime import timedelta

    from pareconv.storage.database import Database
    from pareconv.storage.files import FileStore
    from pareconv.storage.garbage import Garbage
    from pareconv.storage.settings import Settings

    settings = Settings()
    database = Database(settings.database)
    try:
        database.migrate()
        garbage = Garbage(database, FileStore.of(settings))
        found = garbage.collect(timedelta(hours=grace_hours), dry_run=dry_run)
    finally:
        database.close()
    if as_json:
        write_json(found)
        return
    told = "Would remove" if dry_run else "Removed"
    typer.echo(
        f"{told} {found.files} of {found.all_files} files, "
        f"{size_of(found.size_bytes)} of {size_of(found.all_bytes)}"
    )


def demo(*, home: DemoHome = None, to: To = None) -> None:
    """Run a whole job on handwritten digits, from training to the front, in a few minutes.

    Starts a server of its own and stops it at the end.

    Example: pareconv demo --home /tmp/demo
    """
    from pareconv.service.demo import run

    try:
        run(home=home, to=to)
    except KeyboardInterrupt:
        typer.echo("The demo was interrupted; its server is stopped.", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
