"""Arrays of a numpy archive: their headers judged before anything is read, then mapped from disk.

No object is ever made of what a file says: arrays of numbers and of strings alone.
"""

import warnings
import zipfile
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from pareconv.search.data.archive import DAMAGED_ZIP, MAX_RATIO, open_zip, refused, safe_members
from pareconv.search.data.unpacking import RATIO_FREE_BYTES, write

_CHUNK = 2**20
_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True, slots=True)
class Header:
    """What an array of the archive at `path` declares, and where in its member the values begin."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_fortran: bool
    start: int
    size: int

    def mapped(self, file: BinaryIO) -> NDArray[Any]:
        """The values, unpacked into `file`, which lies on the disk; read-only."""
        self._unpack(file)
        order = "F" if self.is_fortran else "C"
        return np.memmap(file, self.dtype, "r", self.start, self.shape, order)  # type: ignore[call-overload, no-any-return]

    def _unpack(self, file: BinaryIO) -> None:
        left = self.size
        try:
            with open_zip(self.path) as archive, archive.open(f"{self.name}.npy") as packed:
                # To its end, where the checksum is compared.
                while chunk := packed.read(min(left, _CHUNK) or 1):
                    left -= len(chunk)
                    write(file, chunk)
        except (*DAMAGED_ZIP, OSError) as error:
            raise _damaged(self.name, str(error)) from error
        if left:
            raise _damaged(self.name, f"{left:,} of {self.size:,} bytes are missing")


def headers(path: Path) -> dict[str, Header]:
    """Of all arrays, by name; InvalidSpec where one is not safe to read."""
    with open_zip(path) as archive:
        return {
            header.name: header
            for member in safe_members(archive)
            if not member.is_dir()
            for header in (_header(path, archive, member),)
        }


def _header(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Header:
    name = member.filename.removesuffix(".npy")
    if member.file_size > RATIO_FREE_BYTES:
        ratio = member.file_size / max(member.compress_size, 1)
        if ratio > MAX_RATIO:
            raise refused(
                f"the array {name[:200]!r} unpacks to {ratio:,.0f} times its packed size, the "
                f"limit is {MAX_RATIO}: this looks like a zip bomb; save it with numpy.savez"
            )
    try:
        with archive.open(member) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers as Python 2 wrote them
            version = npy.read_magic(file)
            shape, is_fortran, dtype = _READERS[version](file)
            start = file.tell()
    except Exception as error:  # whatever numpy makes of a damaged header
        raise _damaged(name, f"{type(error).__name__}: {error}") from error
    if dtype.hasobject or dtype.fields is not None:
        raise refused(
            f"the array {name[:200]!r} holds {dtype} instead of numbers; such arrays can run code "
            "when they are read and are not: save it as numbers, or class names as strings"
        )
    declared = start + prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or declared != member.file_size:
        raise _damaged(
            name, f"{shape} of {dtype} take {declared:,} bytes, and there are {member.file_size:,}"
        )
    return Header(path, name, shape, dtype, is_fortran, start, member.file_size)


def _damaged(name: str, reason: str) -> Exception:
    return refused(
        f"the array {name[:200]!r} cannot be read ({reason[:500]}); save the archive again"
    )
