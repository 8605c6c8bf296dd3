"""Tars of images, compressed or not: their table of contents, and their members' bytes once safe.

Python's tarfile reads the headers alone. Nothing is ever unpacked under a member's name.
"""

import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from pareconv.search.data.archive import (
    Reader,
    check_bytes,
    check_count,
    check_duplicates,
    check_total,
    damaged,
    escapes,
    refused,
)
from pareconv.search.data.listing import Listing, arrange, is_image
from pareconv.search.data.unpacking import compression_of, unpacked

_BLOCK = 512  # bytes; what is in a tar begins at multiples of it
_MAX_HEADER = 2**20  # bytes of a long name or of a member's further attributes


@dataclass(frozen=True, slots=True)
class _Place:
    start: int
    size: int


def is_tar(path: Path) -> bool:
    """Whether it begins as one, or is compressed in one of the ways of tars."""
    if compression_of(path) is not None:
        return True
    with path.open("rb") as file:
        block = file.read(_BLOCK)
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")  # compares its checksum
    except tarfile.HeaderError:
        return False
    return True


@contextmanager
def open_tar(path: Path, scratch: Path) -> Iterator[tuple[Listing, Reader]]:
    """Its listing, and a function from a member's name to its bytes, safe in threads.

    A compressed one is unpacked in the folder `scratch`, into a file without a name. InvalidSpec
    if it is no image folder, or not safe to read.
    """
    with unpacked(path, scratch) as file:
        places = _places(file)
        listing = arrange(places, sum(place.size for place in places.values()))

        def read(name: str) -> bytes:
            place = places[name]
            content = os.pread(file.fileno(), place.size, place.start)
            if len(content) != place.size:
                raise damaged(name, f"{len(content):,} of {place.size:,} bytes are there")
            return content

        yield listing, read


def _places(file: BinaryIO) -> dict[str, _Place]:
    """Where the images lie in it."""
    names: list[str] = []
    places: dict[str, _Place] = {}
    total_bytes = 0
    for count, member in enumerate(_members(file), start=1):
        check_count(count)
        _check(member)
        check_total(total_bytes := total_bytes + member.size)
        name = PurePosixPath(member.name).as_posix()  # without the ./ in front of it
        if is_image(name) and member.isreg():
            check_bytes(name, member.size)
            names.append(name)
            places[name] = _Place(member.offset_data, member.size)
    check_duplicates(names)
    return places


def _members(file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    try:
        with tarfile.open(
            fileobj=_Headers(file), mode="r:", encoding="utf-8", errors="strict"
        ) as archive:
            before = -1
            while (member := archive.next()) is not None:
                if member.size < 0 or archive.offset <= before:
                    raise tarfile.ReadError("a member has a negative size")
                before = archive.offset
                archive.members = []  # type: ignore[attr-defined]  # it would keep them all
                yield member
            _check_end(file, archive.offset)
    except (tarfile.TarError, OSError, EOFError, ValueError, RecursionError) as error:
        raise refused(
            f"the tar is damaged or was cut short ({error}); pack it again, with names in UTF-8"
        ) from error


def _check_end(file: BinaryIO, offset: int) -> None:
    """tarfile takes a header that is damaged, or not there, for the end."""
    block = os.pread(file.fileno(), _BLOCK, offset)
    if block != bytes(_BLOCK):
        raise tarfile.ReadError(f"no header and no end at byte {offset:,}")


def _check(member: tarfile.TarInfo) -> None:
    name = member.name
    if escapes(name) or "\0" in name:
        raise refused(f"the member {name[:200]!r} leads out of its folder; use relative names")
    if member.issym() or member.islnk():
        raise refused(f"the member {name[:200]!r} is a link; pack the file that it points to")
    if member.issparse() or not (member.isreg() or member.isdir()):
        raise refused(
            f"the member {name[:200]!r} is a device, a pipe, or a file with holes; "
            "pack plain files alone"
        )


class _Headers(io.RawIOBase):
    """The file for tarfile, which would read a long name of any length into memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_HEADER:
            raise tarfile.ReadError(f"a header has {size:,} bytes, the limit is {_MAX_HEADER:,}")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
