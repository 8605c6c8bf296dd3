"""The tables of the command line. Loads rich, which a command does only once it has an answer."""

from collections.abc import Collection, Iterable

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


def plain_table() -> Table:
    """Without a frame, as wide as what is in it."""
    return Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)


def print_list(
    titles: Iterable[str], rows: Iterable[Collection[str]], *, folding: Collection[str]
) -> None:
    """A row for each thing; the columns `folding` give way where the terminal is too narrow."""
    table = plain_table()
    for title in titles:
        if title in folding:
            table.add_column(title, overflow="fold")
        else:
            table.add_column(title, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
