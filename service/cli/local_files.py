"""Local files in a spec: named to the server where it can read them, uploaded where it cannot."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import typer

from pareconv.search.data.torchvision_table import TORCHVISION_SETS
from pareconv.service.cli.failures import BadInput
from pareconv.service.client import Client
from pareconv.service.remote.connection import OnBytes
from pareconv.service.remote.errors import ProblemError

Json = dict[str, Any]
Answer = TypeVar("Answer")

# field of the spec: option, what is a reference already
_REFERENCES = {
    "teacher.architecture": ("--teacher", re.compile(r"(?!.*\.onnx$).*|teacher:.+|file:.+")),
    "teacher.weights": ("--weights", re.compile(r"default|teacher:.+|file:.+")),
    "dataset.source": ("--data", re.compile(r"digits|dataset:.+|file:.+")),
}
_TORCHVISION = re.compile(rf"({'|'.join(TORCHVISION_SETS)}):(.+)")
# How the server says that the fault is not in the file but in its not getting at it.
_OUT_OF_REACH = re.compile(
    r"allowed[ _]root|nothing at|no such file|does not exist|not found|cannot be opened|permission",
    re.IGNORECASE,
)


def send(client: Client, spec: Json, post: Callable[[Json], Answer]) -> Answer:
    """`post(spec)`, its paths as `file:<path>`, or uploaded where the server cannot get at them.

    Raises BadInput for a path that is not there and a folder that cannot be uploaded, and the
    ProblemError of a spec that is refused for another reason. `spec` itself is changed.
    """
    paths = dict(_name_paths(spec))
    names: dict[str, str] = {}  # reference of an upload -> name of the file
    while True:
        try:
            return post(spec)
        except ProblemError as problem:
            field = _out_of_reach(problem)
            if field is None or field not in paths:
                _call_by_name(problem, names)
                raise
            path = paths.pop(field)
            reference = _uploaded(client, field, path)
            names[reference] = path.name
            _put(spec, field, reference)


def _call_by_name(problem: ProblemError, names: dict[str, str]) -> None:
    for error in problem.errors:
        for reference, name in names.items():
            error["message"] = error["message"].replace(reference, name)


def _name_paths(spec: Json) -> Iterator[tuple[str, Path]]:
    for field, (option, reference) in _REFERENCES.items():
        given = _get(spec, field)
        if not isinstance(given, str):
            continue
        if reference.fullmatch(given) and not _is_file_of_weights(field, given):
            if given == "digits":
                _warn_of_namesake(option, given)
            continue
        if match := _TORCHVISION.fullmatch(given):
            _put(spec, field, f"{match[1]}:{_absolute(match[2])}")
            continue
        path = _absolute(given)
        if not path.exists():
            raise BadInput(
                f"{option}: there is no file or folder {given!r} here; "
                "one of the server's machine is named as file:<path>"
            )
        _put(spec, field, f"file:{path}")
        yield field, path


def _is_file_of_weights(field: str, given: str) -> bool:
    """Where a network is wanted: a file that is there is meant, of which the server says more."""
    return field == "teacher.architecture" and Path(given).is_file()


def _warn_of_namesake(option: str, given: str) -> None:
    if Path(given).exists():
        typer.echo(
            f"{option} {given} means the built-in data, not what is called so here: say ./{given}",
            err=True,
        )


def _uploaded(client: Client, field: str, path: Path) -> str:
    option, _ = _REFERENCES[field]
    if path.is_dir():
        raise BadInput(
            f"{option}: the server cannot read the folder {path}; zip it or make a "
            "tar and give that, or add the folder to the server's PARECONV_ALLOWED_ROOTS"
        )
    is_teacher = field.startswith("teacher.")
    uploads = client.teachers if is_teacher else client.datasets
    with _shown(path) as on_bytes, _blaming(field):
        return uploads.upload(path, on_bytes=on_bytes).reference


@contextmanager
def _blaming(field: str) -> Iterator[None]:
    """What is wrong with the part `file` of an upload is wrong with this field of the spec."""
    try:
        yield
    except ProblemError as problem:
        for error in problem.errors:
            error["field"] = field
        raise


@contextmanager
def _shown(path: Path) -> Iterator[OnBytes]:
    """A progress bar on stderr while the file is sent."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("uploading {task.description}"), BarColumn(), DownloadColumn())
    console = Console(stderr=True)
    shown = Progress(
        *columns,
        TransferSpeedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with shown as progress:
        task = progress.add_task(path.name, total=path.stat().st_size)
        yield lambda sent: progress.advance(task, sent)


def _out_of_reach(problem: ProblemError) -> str | None:
    if problem.status != 422:
        return None
    reasons = {error["field"]: error["message"] for error in problem.errors}
    found = (field for field, reason in reasons.items() if _OUT_OF_REACH.search(reason))
    return next(found, None)


def _absolute(path: str) -> Path:
    # Links stay as they are: the server compares real paths itself.
    return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100


def _get(spec: Json, field: str) -> Any:
    part, leaf = field.split(".")
    parent = spec.get(part)
    return parent.get(leaf) if isinstance(parent, dict) else None


def _put(spec: Json, field: str, value: str) -> None:
    part, leaf = field.split(".")
    spec[part][leaf] = value
