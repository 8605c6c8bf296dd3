"""The commands on libraries: list, and the front that one predicts."""

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
from pareconv.service.cli.job_argument import LATEST
from pareconv.service.client import Client
from pareconv.service.figures import age, count
from pareconv.service.views.library import LibraryView

Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="Libraries to list.")]
LibraryId = Annotated[
    str, typer.Argument(metavar="LIBRARY", help="Its id, as `libraries` lists it, or `latest`.")
]
Flops = Annotated[
    str | None, typer.Option("--flops", help="Multiply-adds, or a share such as 40%.")
]
Params = Annotated[str | None, typer.Option("--params", help="Parameters, or a share such as 40%.")]


def libraries(
    context: typer.Context,
    *,
    limit: Limit = 20,
    server: Server = SAME_AS_GLOBAL,
    as_json: AsJson = False,
) -> None:
    """List what was distilled block by block, newest first.

    Example: pareconv libraries
    """
    if context.invoked_subcommand is not None:
        context.find_root().obj.server = server  # `libraries --server URL front` means it too
        return
    with connect(server) as client:
        page = client.libraries.page(limit=limit)
    if as_json:
        write_json(page)
    elif page.items:
        _print_libraries(page.items)
    else:
        typer.echo("No libraries; a job builds one, or goes on with that of its teacher and data.")


def front(
    library: LibraryId,
    *,
    flops: Flops = None,
    params: Params = None,
    server: Server = SAME_AS_GLOBAL,
    as_json: AsJson = False,
) -> None:
    """Show the front that a library predicts at any budget.

    Example: pareconv libraries front 0sgnepxstxyd494rbccfs0gw53 --flops 40%
    """
    with connect(server) as client:
        id = _latest(client) if library == LATEST else library
        found = client.libraries.front(id, flops=flops, params=params)
    if as_json:
        write_json(found)
        return
    from rich.console import Console

    from pareconv.service.cli.prediction_table import prediction_view

    Console().print(prediction_view(found))


def _latest(client: Client) -> str:
    newest = client.libraries.page(limit=1).items
    if not newest:
        raise BadInput("there is no library yet; a job builds one")
    return newest[0].id


def _print_libraries(items: list[LibraryView]) -> None:
    from pareconv.service.cli.tables import print_list

    titles = ("Library", "Teacher", "FLOPs", "Params", "State", "Age")
    print_list(titles, map(_row, items), folding={"Teacher"})


def _row(library: LibraryView) -> tuple[str, ...]:
    cost = library.teacher_cost
    state = "being built" if library.building else "idle"
    figures = (count(cost.flops), count(cost.params), state, age(library.updated_at))
    return (library.id, library.name, *figures)
