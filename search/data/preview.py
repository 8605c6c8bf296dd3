"""A preview: what a data set looks like, told from a few of its images."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import torch
from PIL import Image

from pareconv.search.data.archive import Reader
from pareconv.search.data.batches import statistics
from pareconv.search.data.decoding import decode, decode_all
from pareconv.search.data.folders import ImageFolder
from pareconv.search.data.images import MAX_SIZE, MIN_SIZE
from pareconv.search.data.listing import Listing, Member
from pareconv.search.spec import Triple

_THUMBNAILS = 10
_SIDE = 64  # pixels, at most
_SAMPLE = 512
_SAMPLE_SIZE = 32


@dataclass(frozen=True, slots=True)
class Preview:
    """What `GET /datasets/{id}` shows beside the counts.

    `image_size` is the side in pixels of a sample of the images, None where they are not square or
    not alike; `mean` and `std` are per channel, of these scaled to [0, 1]. A thumbnail is (class,
    JPEG in base64), of the first image of each of the first classes.
    """

    image_size: int | None
    mean: Triple
    std: Triple
    thumbnails: tuple[tuple[str, str], ...]


def preview(folder: ImageFolder, listing: Listing) -> Preview:
    """Raises InvalidSpec where one of the images that are looked at cannot be decoded."""
    names = _spread([name for name, _ in listing.train])
    with folder.reader() as read:
        sizes = {decode(read(name), name).size for name in names}
        pixels, _ = decode_all(names, read, size=_SAMPLE_SIZE, is_exact=False)
        thumbnails = tuple(
            (listing.classes[label], _thumbnail(read, name)) for name, label in _firsts(listing)
        )
    mean, std = statistics(torch.from_numpy(pixels))
    return Preview(_common(sizes), mean, std, thumbnails)


def _spread(names: Sequence[str]) -> list[str]:
    """At most so many, in equal steps: members are in the order of their classes."""
    step = max(1, len(names) / _SAMPLE)
    return [names[int(place * step)] for place in range(min(len(names), _SAMPLE))]


def _firsts(listing: Listing) -> list[Member]:
    found: dict[int, Member] = {}
    for member in listing.train:
        found.setdefault(member[1], member)
    return [found[label] for label in sorted(found)[:_THUMBNAILS]]


def _common(sizes: set[tuple[int, int]]) -> int | None:
    width, height = next(iter(sizes))
    is_usable = len(sizes) == 1 and width == height and MIN_SIZE <= width <= MAX_SIZE
    return width if is_usable else None


def _thumbnail(read: Reader, name: str) -> str:
    image = decode(read(name), name)
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    file = BytesIO()
    image.save(file, "JPEG", quality=80)
    return base64.b64encode(file.getvalue()).decode()
