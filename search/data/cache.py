"""The cache of decoded images: one safetensors file per data set and size, mapped into memory.

The system reads what is looked at and forgets it when it needs the memory, so a data set may be
larger than that. It trusts the content's fingerprint, and never what it finds: a damaged file is
made anew.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from pareconv.search.data.decoding import decode_all
from pareconv.search.data.images import Images, require_memory
from pareconv.search.data.mapped import Draft, Layout, map_file
from pareconv.search.data.originals import Originals, Pictures

logger = logging.getLogger(__name__)

VERSION = 2  # to be raised with any change of decoding, scaling or splitting


@dataclass(frozen=True, slots=True)
class Entry:
    """Where the images of one content are kept. Those that had this size already are kept apart, as
    `auto` must not accept what was scaled.
    """

    own: Path
    scaled: Path


def file_fingerprint(path: Path) -> str:
    """SHA-256 of the file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_fingerprint(root: Path, names: Iterable[str]) -> str:
    """SHA-256 of names, sizes and modification times."""
    digest = hashlib.sha256()
    for name in sorted(names):
        status = (root / name).stat()
        digest.update(os.fsencode(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n"))
    return digest.hexdigest()


def entry(cache: Path, kind: str, fingerprint: str, size: int | None) -> Entry:
    """The place of this content at so many pixels a side; None is its own size."""

    def place(variant: str) -> Path:
        key = json.dumps([VERSION, kind, fingerprint, variant])
        return cache / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"

    return Entry(place("own"), place(str(size)))


def find(entry: Entry, name: str, size: int | None) -> Images | None:
    """The images kept there, as data set `name`; None if none can be trusted."""
    if size is not None and (found := read(entry.scaled, name)):
        return found
    found = read(entry.own, name)
    return found if found is not None and size in (None, found.image_size) else None


def read(path: Path, name: str) -> Images | None:
    if not path.exists():
        return None
    try:
        tensors, about = map_file(path)
        classes = tuple(json.loads(about["classes"]))
        images = Images(name=name, classes=classes, **tensors)
        if not _is_sound(tensors, len(classes)):
            raise ValueError("its tensors do not fit")
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        logger.warning("damaged cache file %s is made anew: %s", path.name, error)
        return None
    return images


def fill(entry: Entry, name: str, originals: Originals, size: int, *, is_exact: bool) -> Images:
    """The images decoded into a file, or into memory where there is no room for one; InvalidSpec
    where one of them cannot be decoded.
    """
    splits = _splits(originals)
    layout: Layout = {}
    for split, pictures in splits.items():  # labels first: they are aligned then
        layout[f"{split}_labels"] = "int64", (len(pictures),)
    for split, pictures in splits.items():
        layout[f"{split}_images"] = "uint8", (len(pictures), 3, size, size)
    folder = entry.own.parent
    try:
        draft = Draft.begin(folder, layout, {"classes": json.dumps(originals.classes)})
    except OSError as error:
        logger.warning("decoded images cannot be kept in %s: %s", folder, error)
        return _in_memory(name, originals, layout, is_exact=is_exact)
    with draft:
        is_scaled = _decode(splits, draft.arrays, is_exact=is_exact)
        path = entry.scaled if is_scaled else entry.own
        draft.keep(path)
        tensors, _ = map_file(path)
    return Images(name=name, classes=originals.classes, **tensors)


def _in_memory(name: str, originals: Originals, layout: Layout, *, is_exact: bool) -> Images:
    splits = _splits(originals)
    size = layout["train_images"][1][-1]
    require_memory(sum(len(pictures) for pictures in splits.values()), size)
    arrays = {name: np.empty(shape, kind) for name, (kind, shape) in layout.items()}
    _decode(splits, arrays, is_exact=is_exact)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return Images(name=name, classes=originals.classes, **tensors)


def _splits(originals: Originals) -> dict[str, Pictures]:
    given = {
        "train": originals.train,
        "validation": originals.validation,
        "test": originals.test,
    }
    return {split: pictures for split, pictures in given.items() if pictures is not None}


def _decode(
    splits: Mapping[str, Pictures], arrays: Mapping[str, NDArray[np.generic]], *, is_exact: bool
) -> bool:
    is_scaled = False
    for split, pictures in splits.items():
        arrays[f"{split}_labels"][:] = pictures.labels.numpy()
        pixels = arrays[f"{split}_images"]
        is_scaled |= decode_all(pictures, pixels, is_exact=is_exact)  # type: ignore[arg-type]
    return is_scaled


def _is_sound(tensors: Mapping[str, Tensor], num_classes: int) -> bool:
    splits = {name.split("_")[0] for name in tensors}
    return all(
        _fit(tensors[f"{split}_images"], tensors[f"{split}_labels"], num_classes)
        for split in splits
    )


def _fit(pixels: Tensor, labels: Tensor, num_classes: int) -> bool:
    return (
        pixels.dtype == torch.uint8
        and pixels.dim() == 4
        and labels.dtype == torch.int64
        and labels.shape == (len(pixels),)
        and len(labels) > 0
        and 0 <= int(labels.min()) <= int(labels.max()) < num_classes
    )
