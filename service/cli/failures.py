"""Failures: what an error is to the shell, an exit code and one line with the remedy."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from pareconv.service.remote.errors import ClientError, ProblemError, ServerUnreachable
from pareconv.storage.errors import StorageError

_STATUSES_OF_BAD_INPUT = frozenset({400, 413, 415, 422})
_NOT_FOUND = 404
# What the server says where an id is none of its own, and what tells those that are.
_LISTS = {
    "no job ": "`pareconv jobs` lists them, and `latest` is the newest",
    "no library ": "`pareconv libraries` lists them",
    "no trial ": "`pareconv front` lists those of the front, the page of its job all",
}


class ExitCode(IntEnum):
    """What the shell is told."""

    FAILED = 1
    BAD_INPUT = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


EPILOG = (
    "Exit codes: 0 done; 1 failed (also a job that failed while it was watched); 2 bad input; "
    "3 no server answers; 130 interrupted."
)


class BadInput(Exception):
    """What was typed cannot work; the message names it and the remedy."""


class Failed(Exception):
    """The command was understood but did not succeed."""


class Commands(TyperGroup):
    """The commands, with every expected error turned into its line and exit code."""

    def invoke(self, ctx: Any) -> Any:
        with _reported():
            return super().invoke(ctx)


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise  # `pareconv jobs | head` is no failure: Typer ends quietly
    except ServerUnreachable as error:
        raise _exit(ExitCode.UNREACHABLE, str(error)) from error
    except ProblemError as error:
        is_input = error.status in _STATUSES_OF_BAD_INPUT
        code = ExitCode.BAD_INPUT if is_input else ExitCode.FAILED
        raise _exit(code, *_lines(error)) from error
    except BadInput as error:
        raise _exit(ExitCode.BAD_INPUT, str(error)) from error
    except ValidationError as error:
        raise _exit(ExitCode.BAD_INPUT, *_settings(error)) from error
    except (ClientError, Failed, StorageError, OSError) as error:
        raise _exit(ExitCode.FAILED, str(error)) from error


def _exit(code: ExitCode, *lines: str) -> typer.Exit:
    for line in lines:
        typer.echo(line, err=True)
    return typer.Exit(code)


def _lines(problem: ProblemError) -> list[str]:
    if problem.errors:
        return [f"{error['field']}: {error['message']}" for error in problem.errors]
    if problem.status == _NOT_FOUND and (remedy := _remedy(problem.detail)):
        return [problem.detail + remedy]
    return [str(problem)]


def _remedy(detail: str) -> str:
    lists = (each for what, each in _LISTS.items() if detail.startswith(what))
    return next((f"; {each}" for each in lists), "")


def _settings(error: ValidationError) -> list[str]:
    """A setting of the environment or of an option of `serve` that cannot be."""
    return [
        f"PARECONV_{'.'.join(map(str, each['loc'])).upper()}: {each['msg']}, got {each['input']!r}"
        for each in error.errors()
    ]
