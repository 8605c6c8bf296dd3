"""Image folders, packed or not: from a listing and a reader to originals."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from pareconv.search.data.archive import (
    Reader,
    folder_reader,
    list_folder,
    list_zip,
    zip_reader,
)
from pareconv.search.data.decoding import decode, size_of
from pareconv.search.data.listing import Listing, Member
from pareconv.search.data.originals import Originals, Pictures
from pareconv.search.data.tar import open_tar


@contextmanager
def open_folder(path: Path) -> Iterator[Originals]:
    listing = list_folder(path)
    with folder_reader(path) as read:
        yield _originals(listing, read)


@contextmanager
def open_zipped(path: Path) -> Iterator[Originals]:
    listing = list_zip(path)
    with zip_reader(path) as read:
        yield _originals(listing, read)


@contextmanager
def open_tarred(path: Path, scratch: Path) -> Iterator[Originals]:
    """A compressed one is unpacked, without a name, in the folder `scratch`."""
    with open_tar(path, scratch) as (listing, read):
        yield _originals(listing, read)


def _originals(listing: Listing, read: Reader) -> Originals:
    return Originals.arranged(
        listing.classes,
        _pictures(listing.train, read),
        validation=_pictures(listing.validation, read) if listing.validation else None,
        test=_pictures(listing.test, read) if listing.test else None,
    )


def _pictures(members: Sequence[Member], read: Reader) -> Pictures:
    def content(number: int) -> tuple[bytes, str]:
        name, _ = members[number]
        return read(name), name

    return Pictures(
        torch.tensor([label for _, label in members]),
        name=lambda number: repr(members[number][0][:200]),
        size=lambda number: size_of(*content(number)),
        rgb=lambda number: decode(*content(number)),
    )
