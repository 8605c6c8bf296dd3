"""The commands on uploads, the teachers and data sets that a server keeps: list, delete."""

from typing import Annotated

import typer

from pareconv.service.cli.connection import (
    SAME_AS_GLOBAL,
    AsJson,
    Server,
    connect,
    write_json,
)
from pareconv.service.cli.failures import BadInput
from pareconv.service.figures import age, size_of

Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="Of either kind to list.")]
Reference = Annotated[
    str,
    typer.Argument(metavar="UPLOAD", help="As `uploads` lists it, such as teacher:0sgnepxs..."),
]


def uploads(
    context: typer.Context,
    *,
    limit: Limit = 20,
    server: Server = SAME_AS_GLOBAL,
    as_json: AsJson = False,
) -> None:
    """List the teachers and data sets that were sent to the server, newest first.

    Example: pareconv uploads
    """
    if context.invoked_subcommand is not None:
        context.find_root().obj.server = server  # `uploads --server URL delete` means it too
        return
    with connect(server) as client:
        found = [
            *client.teachers.page(limit=limit).items,
            *client.datasets.page(limit=limit).items,
        ]
    found.sort(key=lambda each: each.created_at, reverse=True)
    if as_json:
        write_json(found)
    elif found:
        from pareconv.service.cli.tables import print_list

        rows = [
            (each.reference, each.name, each.filename, size_of(each.bytes), age(each.created_at))
            for each in found
        ]
        print_list(("Upload", "Name", "File", "Size", "Age"), rows, folding={"Name", "File"})
    else:
        typer.echo("No uploads; `pareconv submit` sends the files that the server cannot read.")


def delete(upload: Reference, *, server: Server = SAME_AS_GLOBAL, as_json: AsJson = False) -> None:
    """Forget an upload and its file; refused while an unfinished job needs it.

    Example: pareconv uploads delete teacher:0sgnepxstxyd494rbccfs0gw53
    """
    kind, _, id = upload.partition(":")
    with connect(server) as client:
        shelves = {"teacher": client.teachers, "dataset": client.datasets}
        if kind not in shelves or not id:
            raise BadInput(f"{upload!r} is no upload; `pareconv uploads` lists them")
        shelves[kind].delete(id)
    if as_json:
        write_json({"deleted": upload})
    else:
        typer.echo(f"Upload {upload} is deleted")
