"""An image archive, zip or folder: its table of contents, and its members' bytes once safe.

Decodes nothing and knows no torch, so that an upload is judged in well under a second.
"""

import os
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pareconv.search.data.listing import Listing, arrange, is_image
from pareconv.search.errors import InvalidSpec

MAX_MEMBERS = 5_000_000
MAX_TOTAL_BYTES = 20 * 10**9  # declared, of all members of a zip
MAX_IMAGE_BYTES = 64 * 2**20  # declared, of one image
MAX_RATIO = 200  # uncompressed to compressed, of an image above RATIO_FREE_BYTES
RATIO_FREE_BYTES = 2**20

Reader = Callable[[str], bytes]

_ENCRYPTED = 0x1  # bit 0 of the general purpose flags
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DRIVE = re.compile(r"[A-Za-z]:")
_DAMAGED = (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, struct.error, zlib.error)


def list_zip(path: Path) -> Listing:
    """The listing of a zip file; InvalidSpec if it is no image folder, or not safe to read."""
    with _opened(path) as archive:
        members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise _refused(f"has {len(members):,} members, the limit is {MAX_MEMBERS:,}; use fewer")
    for member in members:
        _check(member)
    _check_duplicates(member.filename for member in members)
    total_bytes = sum(member.file_size for member in members)
    if total_bytes > MAX_TOTAL_BYTES:
        raise _refused(
            f"unpacks to {total_bytes:,} bytes, the limit is {MAX_TOTAL_BYTES:,}; "
            "use smaller or fewer images, or a folder on the server"
        )
    return arrange((m.filename for m in members if not m.is_dir()), total_bytes)


def list_folder(path: Path) -> Listing:
    """The listing of a folder; links are refused, as they could lead out of it."""
    if not path.is_dir():
        raise _refused(f"{str(path)!r} is not a folder; give the folder that holds the images")
    sizes: dict[str, int] = {}
    for file in _files(path):
        name = file.relative_to(path).as_posix()
        if is_image(name):
            sizes[name] = file.stat().st_size
            _check_bytes(name, sizes[name])
    return arrange(sizes, sum(sizes.values()))


@contextmanager
def zip_reader(path: Path) -> Iterator[Reader]:
    """A function from a member's name to its bytes, never more than declared; safe in threads."""
    with _opened(path) as archive:

        def read(name: str) -> bytes:
            try:
                with archive.open(name) as file:
                    size = archive.getinfo(name).file_size
                    # A bounded read: an unbounded one inflates whatever is there, declared or not.
                    content = file.read(size)
            except (*_DAMAGED, OSError) as error:
                raise _damaged(name, str(error)) from error
            if len(content) != size:
                raise _damaged(name, f"{len(content):,} of {size:,} bytes are there")
            return content

        yield read


@contextmanager
def folder_reader(path: Path) -> Iterator[Reader]:
    """A function from a member's name to its bytes."""

    def read(name: str) -> bytes:
        try:
            return (path / name).read_bytes()
        except OSError as error:
            raise _damaged(name, str(error)) from error

    yield read


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGED as error:
        raise _refused(
            f"{path.name!r} is not a zip archive, or was cut short ({error}); "
            "pack it again, or upload it again"
        ) from error
    except OSError as error:
        raise _refused(f"{path.name!r} cannot be read: {error.strerror or error}") from error
    with archive:
        yield archive


def _check(member: zipfile.ZipInfo) -> None:
    name = member.filename
    if _escapes(name) or name != member.orig_filename:
        raise _refused(f"the member {name[:200]!r} leads out of its folder; use relative names")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise _refused(f"the member {name[:200]!r} is a link; pack the file that it points to")
    if member.flag_bits & _ENCRYPTED:
        raise _refused(f"the member {name[:200]!r} is encrypted; pack without a password")
    if member.compress_type not in _METHODS:
        raise _refused(
            f"the member {name[:200]!r} is compressed with method {member.compress_type}; "
            "pack with deflate (method 8) or without compression (0)"
        )
    if is_image(name):
        _check_bytes(name, member.file_size)
        _check_ratio(member)


def _escapes(name: str) -> bool:
    is_absolute = name.startswith("/") or _DRIVE.match(name) is not None
    return is_absolute or "\\" in name or ".." in name.split("/")


def _check_bytes(name: str, size: int) -> None:
    if size > MAX_IMAGE_BYTES:
        raise _refused(
            f"the image {name[:200]!r} has {size:,} bytes, the limit is {MAX_IMAGE_BYTES:,}; "
            "scale it down or leave it out"
        )


def _check_ratio(member: zipfile.ZipInfo) -> None:
    ratio = member.file_size / max(member.compress_size, 1)
    if member.file_size > RATIO_FREE_BYTES and ratio > MAX_RATIO:
        raise _refused(
            f"the image {member.filename[:200]!r} unpacks to {ratio:,.0f} times its packed size, "
            f"the limit is {MAX_RATIO}: this looks like a zip bomb; pack the images as JPEG or PNG"
        )


def _check_duplicates(names: Iterable[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise _refused(
            f"{len(repeated)} names occur more than once, such as {repeated[0][:200]!r}; "
            "give each member a name of its own"
        )


def _files(root: Path) -> Iterator[Path]:
    for folder, subfolders, files in os.walk(root):
        for name in (*subfolders, *files):
            if (Path(folder) / name).is_symlink():
                link = (Path(folder) / name).relative_to(root).as_posix()
                raise _refused(f"{link!r} is a link; put the file that it points to in its place")
        yield from (Path(folder) / name for name in files)


def _damaged(name: str, reason: str) -> InvalidSpec:
    return _refused(f"the image {name[:200]!r} cannot be read ({reason}); mend or remove it")


def _refused(message: str) -> InvalidSpec:
    return InvalidSpec("dataset.source", message)
