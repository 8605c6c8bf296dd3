"""The commands on tokens: make, list, revoke. They work on the database of the settings."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from pareconv.service.cli.connection import AsJson, write_json
from pareconv.service.figures import age
from pareconv.storage.scopes import Scope
from pareconv.storage.settings import Settings

if TYPE_CHECKING:
    from pareconv.storage.tokens import Token, TokenStore

AskedScope = Annotated[
    Scope,
    typer.Option(
        "--scope",
        help="read: look at what is its own; submit: make and change that too; "
        "admin: all of everybody's, and the dashboard.",
    ),
]
Name = Annotated[
    str | None, typer.Option("--name", help="A label for people, such as whose it is.")
]
Of = Annotated[
    str | None,
    typer.Option(
        "--of",
        metavar="TOKEN",
        help="Id of a token whose jobs and files it shall see and add to; default: its own.",
    ),
]
TokenId = Annotated[str, typer.Argument(metavar="TOKEN", help="Its id, as `token list` has it.")]


def create(*, scope: AskedScope, name: Name = None, of: Of = None, as_json: AsJson = False) -> None:
    """Make a token, and print its secret, this once.

    Example: pareconv token create --scope submit --name laptop

    From the first one on, the server answers nobody without a token.
    """
    with _tokens() as tokens:
        is_first = not tokens.are_asked_for()
        token, secret = tokens.create(scope, name=name, of=of)
    typer.echo(f"Token {token.id} of scope {scope}; keep it, it cannot be shown again:", err=True)
    if as_json:
        write_json({"token": token, "secret": secret})
    else:
        typer.echo(secret)
    if is_first:
        typer.echo(
            "From now on the server asks for a token. What was there before, only one of scope "
            "admin sees.",
            err=True,
        )


def list_tokens(*, as_json: AsJson = False) -> None:
    """List the tokens, newest first; their secrets are not known.

    Example: pareconv token list
    """
    with _tokens() as tokens:
        found = tokens.all()
    if as_json:
        write_json(found)
    elif found:
        _print_tokens(found)
    else:
        typer.echo("No tokens: the server answers its own machine, and asks nobody who they are.")


def revoke(token: TokenId) -> None:
    """Let nobody in with a token any more, at once; what it made stays.

    Example: pareconv token revoke 0sgnepxstxyd494rbccfs0gw53
    """
    with _tokens() as tokens:
        tokens.revoke(token)
    typer.echo(f"Token {token} is revoked")


@contextmanager
def _tokens() -> Iterator["TokenStore"]:
    from pareconv.storage.database import Database
    from pareconv.storage.tokens import TokenStore

    database = Database(Settings().database)
    try:
        database.migrate()
        yield TokenStore(database)
    finally:
        database.close()


def _print_tokens(found: list["Token"]) -> None:
    from pareconv.service.cli.tables import print_list

    titles = ("Token", "Name", "Scope", "State", "Last use", "Age")
    print_list(titles, map(_row, found), folding={"Name"})


def _row(token: "Token") -> tuple[str, ...]:
    state = "in use" if token.revoked_at is None else "revoked"
    used = "never" if token.last_used_at is None else age(token.last_used_at)
    return (token.id, token.name or "", token.scope, state, used, age(token.created_at))
