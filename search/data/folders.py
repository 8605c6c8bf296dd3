"""Image folders, zipped or not: listed, decoded, and split where they bring no test split."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from pareconv.search.data import cache
from pareconv.search.data.archive import (
    Reader,
    folder_reader,
    list_folder,
    list_zip,
    zip_reader,
)
from pareconv.search.data.decoding import decode_all, size_of
from pareconv.search.data.images import MAX_SIZE, MIN_SIZE, Images, require_memory
from pareconv.search.data.listing import Listing, Member
from pareconv.search.data.splits import hold_out_test
from pareconv.search.errors import InvalidSpec


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """An image folder at `path`; `fingerprint` is a zip's SHA-256 where that is known already."""

    kind: Literal["folder", "zip"]
    path: Path
    fingerprint: str | None = None

    def listing(self) -> Listing:
        return list_zip(self.path) if self.kind == "zip" else list_folder(self.path)

    def reader(self) -> AbstractContextManager[Reader]:
        return zip_reader(self.path) if self.kind == "zip" else folder_reader(self.path)

    def common_size(self, listing: Listing) -> int:
        """Side of the first image in pixels, from its header: what `auto` holds all others to."""
        with self.reader() as read:
            return _common_size(listing, read)

    def fingerprint_of(self, listing: Listing) -> str:
        if self.kind == "folder":
            return cache.folder_fingerprint(self.path, (n for n, _ in listing.train + listing.test))
        return self.fingerprint or cache.file_fingerprint(self.path)


def load(folder: ImageFolder, *, size: int | None, directory: Path) -> Images:
    """The images at `size` pixels a side; None keeps the one size that all must share then.

    `directory` keeps the cache.
    """
    listing = folder.listing()
    with folder.reader() as read:
        side = _common_size(listing, read) if size is None else size
        fingerprint = folder.fingerprint_of(listing)
        # Images at their own size are kept apart: `auto` must not accept what was scaled.
        own, scaled = (
            cache.entry(directory, folder.kind, fingerprint, f"{side} {variant}")
            for variant in ("own", "scaled")
        )
        for path in (own,) if size is None else (own, scaled):
            if found := cache.read(path, folder.path.stem):
                return found
        require_memory(len(listing.train) + len(listing.test), side)
        train, is_scaled = _decoded(listing.train, read, size=side, is_exact=size is None)
        test, is_test_scaled = _decoded(listing.test, read, size=side, is_exact=size is None)
    images = _images(folder.path.stem, listing, train, test)
    return cache.keep(scaled if is_scaled or is_test_scaled else own, images)


def _common_size(listing: Listing, read: Reader) -> int:
    """The side of the first image, which all others are held against when they are decoded."""
    name, _ = listing.train[0]
    width, height = size_of(read(name), name)
    if width != height or not MIN_SIZE <= width <= MAX_SIZE:
        raise InvalidSpec(
            "dataset.image_size",
            f"'auto' keeps the images' own size, but {name[:200]!r} is {width} x {height} pixels "
            f"and must be square, of {MIN_SIZE} to {MAX_SIZE}; give image_size in pixels",
        )
    return width


def _decoded(
    members: Sequence[Member], read: Reader, *, size: int, is_exact: bool
) -> tuple[Tensor, bool]:
    names = [name for name, _ in members]
    pixels, is_scaled = decode_all(names, read, size=size, is_exact=is_exact)
    return torch.from_numpy(pixels), is_scaled


def _images(name: str, listing: Listing, train: Tensor, test: Tensor) -> Images:
    labels = _labels(listing.train)
    if listing.test:
        test_labels = _labels(listing.test)
        return Images(name, listing.classes, train, labels, test, test_labels)
    kept, held_out = hold_out_test(labels)
    return Images(
        name, listing.classes, train[kept], labels[kept], train[held_out], labels[held_out]
    )


def _labels(members: Sequence[Member]) -> Tensor:
    return torch.tensor([label for _, label in members])
