"""Sources: from the place and kind of a data set to its images. Knows no job and no reference."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pareconv.search.data import cifar, digits, folders
from pareconv.search.data.images import MAX_SIZE, MIN_SIZE, Images
from pareconv.search.errors import InvalidSpec
from pareconv.search.spec import Auto

Kind = Literal["digits", "cifar10", "cifar100", "folder", "zip"]


@dataclass(frozen=True, slots=True)
class Source:
    """A data set on this machine. `path` is needed by every kind but `digits`.

    `fingerprint` is the SHA-256 of a zip where that is known already; it is computed otherwise.
    """

    kind: Kind
    path: Path | None = None
    fingerprint: str | None = None


def load(source: Source, *, image_size: int | Auto, cache: Path) -> Images:
    """The images of a source, decoded or from the folder `cache`.

    `auto` is 32 for digits and CIFAR, and else the size that all images share. Raises InvalidSpec
    on `dataset.source` or `dataset.image_size`.
    """
    size = None if image_size == "auto" else image_size
    if size is not None and not MIN_SIZE <= size <= MAX_SIZE:
        raise InvalidSpec(
            "dataset.image_size",
            f"{size} is outside {MIN_SIZE} to {MAX_SIZE} pixels; give a size in between, or 'auto'",
        )
    match source.kind:
        case "digits":
            return digits.load(size or digits.AUTO_SIZE)
        case "cifar10" | "cifar100" as kind:
            side = size or cifar.AUTO_SIZE
            return cifar.load(kind, existing(source), size=side, directory=cache)
        case "folder" | "zip" as kind:
            folder = folders.ImageFolder(kind, existing(source), source.fingerprint)
            return folders.load(folder, size=size, directory=cache)


def existing(source: Source) -> Path:
    """The path of a source that needs one; InvalidSpec where nothing is there."""
    if source.path is None or not source.path.exists():
        raise InvalidSpec(
            "dataset.source",
            f"there is nothing at {str(source.path)!r}; a {source.kind} data set needs the path of "
            "a file or folder on the machine where the job runs",
        )
    return source.path
