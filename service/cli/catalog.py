"""The commands on what a spec can name: architectures, operators, methods."""

from typing import Annotated

import typer

from pareconv.service.cli.connection import (
    SAME_AS_GLOBAL,
    AsJson,
    Server,
    connect,
    write_json,
)
from pareconv.service.views.catalog import OperatorView

Search = Annotated[
    str | None, typer.Argument(metavar="[TEXT]", help="Only those whose name has it.")
]


def architectures(
    search: Search = None, *, server: Server = SAME_AS_GLOBAL, as_json: AsJson = False
) -> None:
    """List the networks that can be a teacher by name; --json tells their papers too.

    Example: pareconv architectures resnet
    """
    with connect(server) as client:
        found = client.architectures(search)
    if as_json:
        write_json(found)
        return
    if not found:
        typer.echo(f"No architecture's name has {search!r}; `pareconv architectures` lists all.")
        return
    from pareconv.service.cli.tables import print_list

    rows = [
        (
            each.name,
            "yes" if each.pretrained else "-",
            f"{each.default_size} px",
            f"{each.min_size} px",
        )
        for each in found
    ]
    titles = ("Architecture", "Trained weights", "Images of", "At least")
    print_list(titles, rows, folding={"Architecture"})


def operators(*, server: Server = SAME_AS_GLOBAL, as_json: AsJson = False) -> None:
    """List the cheap operators that can take a block's place.

    Example: pareconv operators
    """
    with connect(server) as client:
        found = client.operators()
    if as_json:
        write_json(found)
        return
    from pareconv.service.cli.tables import print_list

    rows = [(each.name, _grid(each), each.summary, each.when) for each in found]
    titles = ("Operator", "Tried with", "What it is", "When")
    print_list(titles, rows, folding={"Tried with", "What it is", "When"})


def methods(*, server: Server = SAME_AS_GLOBAL, as_json: AsJson = False) -> None:
    """List the distillation methods, which a spec (`submit --spec`) names as distill.method and
    finish.method.

    Example: pareconv methods
    """
    with connect(server) as client:
        found = client.methods()
    if as_json:
        write_json(found)
        return
    from pareconv.service.cli.tables import print_list

    rows = [(each.name, each.summary, each.cost, each.when) for each in found]
    titles = ("Method", "What it is", "Cost of an image", "When")
    print_list(titles, rows, folding=titles[1:])


def _grid(operator: OperatorView) -> str:
    """`ratio=0.25, 0.5`."""
    return "; ".join(f"{each.name}={', '.join(map(str, each.grid))}" for each in operator.hyper)
