"""Sources: from the place and kind of a data set to its images. Knows no job and no reference."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from pareconv.search.data import cache as kept
from pareconv.search.data import digits, torchvision_sets
from pareconv.search.data.archive import list_folder
from pareconv.search.data.folders import open_folder, open_tarred, open_zipped
from pareconv.search.data.formats import format_of
from pareconv.search.data.images import Images
from pareconv.search.data.numpy_archive import open_npz
from pareconv.search.data.originals import MAX_SIZE, MIN_SIZE, Originals
from pareconv.search.errors import InvalidSpec
from pareconv.search.spec import Auto


@dataclass(frozen=True, slots=True)
class Source:
    """A data set on this machine, of which every kind but `digits` needs a `path`.

    `kind` is `digits`, `folder`, `file` (an archive of images or of arrays, told by its content),
    or a name of the torchvision table. `fingerprint` is the SHA-256 of a file where that is known
    already; it is computed otherwise.
    """

    kind: str
    path: Path | None = None
    fingerprint: str | None = None


def load(source: Source, *, image_size: int | Auto, cache: Path) -> Images:
    """The images of a source, decoded or from the folder `cache`.

    `auto` is 32 for digits, and else the size that all images share. Raises InvalidSpec on
    `dataset.source` or `dataset.image_size`.
    """
    size = None if image_size == "auto" else image_size
    if size is not None and not MIN_SIZE <= size <= MAX_SIZE:
        raise InvalidSpec(
            "dataset.image_size",
            f"{size} is outside {MIN_SIZE} to {MAX_SIZE} pixels; give a size in between, or 'auto'",
        )
    if source.kind == "digits":
        return digits.load(size or digits.AUTO_SIZE)
    path = existing(source)
    entry = kept.entry(cache, source.kind, _fingerprint(source, path), size)
    name = path.name.split(".")[0] if source.kind in ("folder", "file") else source.kind
    if found := kept.find(entry, name, size):
        return found
    with opened(source, scratch=cache) as originals:
        side = originals.common_size if size is None else size
        return kept.fill(entry, name, originals, side, is_exact=size is None)


def opened(source: Source, *, scratch: Path) -> AbstractContextManager[Originals]:
    """The images of any source but the digits, as they lie there, while the context lasts.

    What must be unpacked first goes to the disk of the folder `scratch`, without a name.
    """
    path = existing(source)
    match source.kind:
        case "folder":
            return open_folder(path)
        case "file":
            return _open_file(path, scratch)
        case name:
            return torchvision_sets.open_set(name, path)


def existing(source: Source) -> Path:
    """The path of a source that needs one; InvalidSpec where nothing is there."""
    if source.path is None or not source.path.exists():
        raise InvalidSpec(
            "dataset.source",
            f"there is nothing at {str(source.path)!r}; a {source.kind} data set needs the path of "
            "a file or folder on the machine where the job runs",
        )
    if source.kind == "file" and not source.path.is_file():
        raise InvalidSpec(
            "dataset.source",
            f"{str(source.path)!r} is a folder, a device or a pipe; give an archive in a file",
        )
    return source.path


def _open_file(path: Path, scratch: Path) -> AbstractContextManager[Originals]:
    match format_of(path):
        case "zip":
            return open_zipped(path)
        case "npz":
            return open_npz(path, scratch)
        case "tar":
            return open_tarred(path, scratch)


def _fingerprint(source: Source, path: Path) -> str:
    match source.kind:
        case "folder":
            listing = list_folder(path)
            members = (*listing.train, *listing.validation, *listing.test)
            return kept.folder_fingerprint(path, (name for name, _ in members))
        case "file":
            return source.fingerprint or kept.file_fingerprint(path)
        case name:
            return kept.folder_fingerprint(*torchvision_sets.files(name, path))
