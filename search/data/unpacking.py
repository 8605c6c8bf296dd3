"""Unpacking: a compressed file as a plain one, on the disk but without a name. Knows no members."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, Literal

from pareconv.search.data.archive import MAX_RATIO, MAX_TOTAL_BYTES, refused

Compression = Literal["gzip", "bzip2", "xz"]

RATIO_FREE_BYTES = 2**26  # up to here small flat images may be packed as well as they like

_MAGIC: dict[Compression, bytes] = {"gzip": b"\x1f\x8b", "bzip2": b"BZh", "xz": b"\xfd7zXZ\x00"}
_CHUNK = 2**20
_XZ_MEMORY = 2**28  # bytes that a decompressor may take; `xz -9` wants 65 MiB
_DAMAGED = (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error)


def compression_of(path: Path) -> Compression | None:
    """By its first bytes."""
    with path.open("rb") as file:
        start = file.read(max(map(len, _MAGIC.values())))
    return next((name for name, magic in _MAGIC.items() if start.startswith(magic)), None)


@contextmanager
def unpacked(path: Path, scratch: Path) -> Iterator[BinaryIO]:
    """The file itself where it is not compressed, or what is in it, in the folder `scratch`.

    InvalidSpec where it is damaged, or holds so much that it must be meant to fill the disk.
    """
    compression = compression_of(path)
    if compression is None:
        with path.open("rb") as plain:
            yield plain
        return
    with scratch_file(scratch) as copy:
        with path.open("rb") as packed:
            written = 0
            for chunk in _chunks(packed, compression):
                written += len(chunk)
                _check(written, packed.tell())
                write(copy, chunk)
        copy.seek(0)
        yield copy


@contextmanager
def scratch_file(folder: Path) -> Iterator[BinaryIO]:
    """A file that is gone when it is closed, even by a process that dies."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = TemporaryFile(dir=folder)  # noqa: SIM115
    except OSError as error:
        raise _no_room(error) from error
    with file:
        yield file


def write(file: BinaryIO, chunk: bytes) -> None:
    try:
        file.write(chunk)
        file.flush()
    except OSError as error:
        raise _no_room(error) from error


def _chunks(file: BinaryIO, compression: Compression) -> Iterator[bytes]:
    try:
        match compression:
            case "gzip":
                with gzip.GzipFile(fileobj=file) as unzipped:
                    while chunk := unzipped.read(_CHUNK):
                        yield chunk
            case "bzip2":
                yield from _streams(file, bz2.BZ2Decompressor)
            case "xz":
                yield from _streams(file, _xz)
    except _DAMAGED as error:
        raise refused(
            f"the {compression} file is damaged or was cut short ({error}); "
            "pack it again, or upload it again"
        ) from error


def _xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


def _streams(
    file: BinaryIO, new: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]
) -> Iterator[bytes]:
    """What is in one compressed stream, and in those that may follow it."""
    packed = file.read(_CHUNK)
    while packed:
        stream = new()
        while not stream.eof:
            if stream.needs_input and not packed and not (packed := file.read(_CHUNK)):
                raise EOFError("it ends too early")
            yield stream.decompress(packed, _CHUNK)
            packed = b""
        packed = stream.unused_data or file.read(_CHUNK)


def _check(written: int, read: int) -> None:
    if written > MAX_TOTAL_BYTES:
        raise refused(
            f"unpacks to over {MAX_TOTAL_BYTES:,} bytes, the limit; "
            "use smaller or fewer images, or a folder on the server"
        )
    if written > RATIO_FREE_BYTES and written > MAX_RATIO * read:
        raise refused(
            f"unpacks to {written / read:,.0f} times its packed size, the limit is {MAX_RATIO}: "
            "this looks like a bomb; pack the images as JPEG or PNG"
        )


def _no_room(error: OSError) -> Exception:
    return refused(
        f"cannot be unpacked in the server's cache ({error.strerror or error}); free some of its "
        "disk, or give a zip, a plain tar or a folder"
    )
