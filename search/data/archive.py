"""Image archives, zip or folder: their table of contents, and their members' bytes once safe.

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
MAX_TOTAL_BYTES = 20 * 10**9  # declared, of all members of an archive
MAX_IMAGE_BYTES = 64 * 2**20  # declared, of one image
MAX_RATIO = 200  # uncompressed to compressed, of an image above RATIO_FREE_BYTES
RATIO_FREE_BYTES = 2**20

Reader = Callable[[str], bytes]

_ENCRYPTED = 0x1  # bit 0 of the general purpose flags
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DRIVE = re.compile(r"[A-Za-z]:")
DAMAGED_ZIP = (
    zipfile.BadZipFile,
    NotImplementedError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
)


def list_zip(path: Path) -> Listing:
    """The listing of a zip file; InvalidSpec if it is no image folder, or not safe to read."""
    with open_zip(path) as archive:
        members = safe_members(archive)
    total_bytes = sum(member.file_size for member in members)
    return arrange((m.filename for m in members if not m.is_dir()), total_bytes)


def safe_members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """All members, of which none leads out of its folder or declares too much; or InvalidSpec."""
    members = archive.infolist()
    check_count(len(members))
    for member in members:
        _check_member(member)
    check_duplicates(member.filename for member in members)
    check_total(sum(member.file_size for member in members))
    return members


def list_folder(path: Path) -> Listing:
    """The listing of a folder; links are refused, as they could lead out of it."""
    if not path.is_dir():
        raise refused(f"{str(path)!r} is not a folder; give the folder that holds the images")
    sizes: dict[str, int] = {}
    for file in _files(path):
        name = file.relative_to(path).as_posix()
        if is_image(name):
            status = file.stat()
            if not stat.S_ISREG(status.st_mode):
                raise refused(f"{name[:200]!r} is a device or a pipe; put a file in its place")
            sizes[name] = status.st_size
            check_bytes(name, sizes[name])
    return arrange(sizes, sum(sizes.values()))


@contextmanager
def zip_reader(path: Path) -> Iterator[Reader]:
    """A function from a member's name to its bytes, never more than declared; safe in threads."""
    with open_zip(path) as archive:

        def read(name: str) -> bytes:
            try:
                with archive.open(name) as file:
                    size = archive.getinfo(name).file_size
                    # A bounded read: an unbounded one inflates whatever is there, declared or not.
                    content = file.read(size)
            except (*DAMAGED_ZIP, OSError) as error:
                raise damaged(name, str(error)) from error
            if len(content) != size:
                raise damaged(name, f"{len(content):,} of {size:,} bytes are there")
            return content

        yield read


@contextmanager
def folder_reader(path: Path) -> Iterator[Reader]:
    """A function from a member's name to its bytes."""

    def read(name: str) -> bytes:
        try:
            return (path / name).read_bytes()
        except OSError as error:
            raise damaged(name, str(error)) from error

    yield read


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except DAMAGED_ZIP as error:
        raise refused(
            f"{path.name!r} is not a zip archive, or was cut short ({error}); "
            "pack it again, or upload it again"
        ) from error
    except OSError as error:
        raise refused(f"{path.name!r} cannot be read: {error.strerror or error}") from error
    with archive:
        yield archive


def _check_member(member: zipfile.ZipInfo) -> None:
    name = member.filename
    if not name:
        raise refused("a member has no name; pack it again")
    if escapes(name) or name != member.orig_filename:
        raise refused(f"the member {name[:200]!r} leads out of its folder; use relative names")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise refused(f"the member {name[:200]!r} is a link; pack the file that it points to")
    if member.flag_bits & _ENCRYPTED:
        raise refused(f"the member {name[:200]!r} is encrypted; pack without a password")
    if member.compress_type not in _METHODS:
        raise refused(
            f"the member {name[:200]!r} is compressed with method {member.compress_type}; "
            "pack with deflate (method 8) or without compression (0)"
        )
    if is_image(name):
        check_bytes(name, member.file_size)
        _check_ratio(member)


def escapes(name: str) -> bool:
    is_absolute = name.startswith("/") or _DRIVE.match(name) is not None
    return is_absolute or "\\" in name or ".." in name.split("/")


def check_count(members: int) -> None:
    if members > MAX_MEMBERS:
        raise refused(f"has {members:,} members, the limit is {MAX_MEMBERS:,}; use fewer")


def check_total(total_bytes: int) -> None:
    if total_bytes > MAX_TOTAL_BYTES:
        raise refused(
            f"unpacks to {total_bytes:,} bytes, the limit is {MAX_TOTAL_BYTES:,}; "
            "use smaller or fewer images, or a folder on the server"
        )


def check_bytes(name: str, size: int) -> None:
    if size > MAX_IMAGE_BYTES:
        raise refused(
            f"the image {name[:200]!r} has {size:,} bytes, the limit is {MAX_IMAGE_BYTES:,}; "
            "scale it down or leave it out"
        )


def _check_ratio(member: zipfile.ZipInfo) -> None:
    ratio = member.file_size / max(member.compress_size, 1)
    if member.file_size > RATIO_FREE_BYTES and ratio > MAX_RATIO:
        raise refused(
            f"the image {member.filename[:200]!r} unpacks to {ratio:,.0f} times its packed size, "
            f"the limit is {MAX_RATIO}: this looks like a zip bomb; pack the images as JPEG or PNG"
        )


def check_duplicates(names: Iterable[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise refused(
            f"{len(repeated)} names occur more than once, such as {repeated[0][:200]!r}; "
            "give each member a name of its own"
        )


def _files(root: Path) -> Iterator[Path]:
    for folder, subfolders, files in os.walk(root):
        for name in (*subfolders, *files):
            if (Path(folder) / name).is_symlink():
                link = (Path(folder) / name).relative_to(root).as_posix()
                raise refused(f"{link!r} is a link; put the file that it points to in its place")
        yield from (Path(folder) / name for name in files)


def damaged(name: str, reason: str) -> InvalidSpec:
    return refused(f"the image {name[:200]!r} cannot be read ({reason}); mend or remove it")


def refused(message: str) -> InvalidSpec:
    return InvalidSpec("dataset.source", message)
