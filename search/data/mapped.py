"""Mapped files: tensors in a safetensors file that the system pages in and out, to read and to
write. Knows no images.
"""

import json
import mmap
import os
import secrets
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

DType = Literal["uint8", "int64"]
Layout = dict[str, tuple[DType, tuple[int, ...]]]  # in the order of the file

_NAMES: dict[DType, str] = {"uint8": "U8", "int64": "I64"}
_DTYPES = {"U8": torch.uint8, "I64": torch.int64}
# Not in Python's mmap before 3.13. Without it a private mapping larger than memory is refused.
_NO_RESERVE = 0x4000 if sys.platform == "linux" else 0


def map_file(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of the file and what it says about itself, of which nothing is read before it is
    looked at. A change to a tensor stays in this process and leaves the file alone.

    Raises SafetensorError, OSError or ValueError where it is damaged.
    """
    with safe_open(path, framework="numpy") as file:  # its header fits its size
        about = file.metadata() or {}
    with path.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        header: dict[str, Any] = json.loads(opened.read(length))
        memory = mmap.mmap(
            opened.fileno(),
            0,
            flags=mmap.MAP_PRIVATE | _NO_RESERVE,
            prot=mmap.PROT_READ | mmap.PROT_WRITE,
        )
    header.pop("__metadata__", None)
    return {name: _tensor(memory, 8 + length, kept) for name, kept in header.items()}, about


def _tensor(memory: mmap.mmap, start: int, kept: Mapping[str, Any]) -> Tensor:
    dtype = _DTYPES[kept["dtype"]]
    first, last = kept["data_offsets"]
    count = (last - first) // dtype.itemsize
    if not count:
        return torch.empty(kept["shape"], dtype=dtype)
    return torch.frombuffer(memory, dtype=dtype, count=count, offset=start + first).view(
        kept["shape"]
    )


class Draft:
    """A file in the making, on the disk but without its name: gone with the context, unless kept.

    `arrays` are mapped, so that what is written to them needs no memory for long.
    """

    def __init__(self, path: Path, arrays: dict[str, np.memmap[Any, Any]]) -> None:
        self._path = path
        self.arrays = arrays

    @classmethod
    def begin(cls, folder: Path, layout: Layout, about: Mapping[str, str]) -> Self:
        """OSError where the folder cannot be written to or its disk has no room for all of it."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{secrets.token_hex(16)}.part"
        header, places, size = _header(layout, about)
        try:
            with path.open("xb") as file:
                file.write(header)
                file.flush()
                _reserve(file.fileno(), size)
            arrays = {
                name: np.memmap(path, kind, "r+", places[name], shape)
                for name, (kind, shape) in layout.items()
            }
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return cls(path, arrays)

    def __enter__(self) -> Self:
        return self

    def keep(self, path: Path) -> None:
        """Give it its name: a reader sees the whole file or none, even after a power cut."""
        for array in self.arrays.values():
            array.flush()
        with self._path.open("rb") as file:
            os.fsync(file.fileno())
        self._path.replace(path)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.arrays.clear()
        self._path.unlink(missing_ok=True)


def _header(layout: Layout, about: Mapping[str, str]) -> tuple[bytes, dict[str, int], int]:
    """The header, where each tensor begins in the file, and the size of the file, in bytes."""
    described: dict[str, Any] = {"__metadata__": dict(about)}
    end = 0
    for name, (kind, shape) in layout.items():
        start, end = end, end + int(np.prod(shape)) * np.dtype(kind).itemsize
        described[name] = {
            "dtype": _NAMES[kind],
            "shape": list(shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(described).encode()
    text += b" " * (-len(text) % 8)
    begin = 8 + len(text)
    places = {name: begin + described[name]["data_offsets"][0] for name in layout}
    return struct.pack("<Q", len(text)) + text, places, begin + end


def _reserve(descriptor: int, size: int) -> None:
    """Room on the disk: a mapped file that ran out of it later would end the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.truncate(descriptor, size)
