"""The commands that run something on this machine: server, worker, migration, demo."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pareconv.service.cli.failures import BadInput, ExitCode

Host = Annotated[str | None, typer.Option("--host", help="Address to listen on.")]
Port = Annotated[int | None, typer.Option("--port", help="Port to listen on.")]
Workers = Annotated[
    int | None, typer.Option("--workers", help="Worker processes; 0 only answers requests.")
]
Home = Annotated[
    Path | None, typer.Option("--home", help="Folder of the database and the artifacts.")
]
To = Annotated[
    Path | None, typer.Option("--to", help="Folder for the downloads; default: demo in the home.")
]

_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def serve(
    *, host: Host = None, port: Port = None, workers: Workers = None, home: Home = None
) -> None:
    """Run the server and its workers until Ctrl-C.

    Example: pareconv serve --port 8080

    Options override the PARECONV_... variables of the environment.
    """
    import logging

    from pareconv.service import server
    from pareconv.service.errors import Unguarded
    from pareconv.service.settings import ServiceSettings

    given: dict[str, Any] = {"host": host, "port": port, "workers": workers, "home": home}
    settings = ServiceSettings(
        **{name: value for name, value in given.items() if value is not None}
    )
    logging.basicConfig(level=logging.INFO, format=_LOG_FORMAT)
    try:
        server.require_guard(settings)
    except Unguarded as error:
        raise BadInput(str(error)) from error
    # Who watches a job asks twice a second: that would hide everything else.
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    address = f"http://{settings.host}:{settings.port}"
    typer.echo(f"Pareconv at {address}, its calls at {address}/docs, home {settings.home}")
    typer.echo("Ctrl-C stops it; unfinished jobs go on at the next start.")
    server.serve(settings)


def worker() -> None:
    """Run one more worker on the same database and artifacts.

    Example: pareconv worker
    """
    # The worker loads torch, which this program must not: it becomes that process.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "pareconv.search.worker"])


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


def demo(*, home: Home = None, to: To = None) -> None:
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
