"""A preview: what a data set looks like, told from a few of its images."""

import base64
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import torch
from PIL import Image

from pareconv.search.data.batches import statistics
from pareconv.search.data.decoding import decode_all
from pareconv.search.data.originals import MAX_SIZE, MIN_SIZE, Originals, Pictures
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


def preview(originals: Originals) -> Preview:
    """Raises InvalidSpec where one of the images that are looked at cannot be decoded."""
    train = originals.train
    sample = train.some(_spread(len(train)))
    pixels = np.empty((len(sample), 3, _SAMPLE_SIZE, _SAMPLE_SIZE), np.uint8)
    decode_all(sample, pixels, is_exact=False)
    mean, std = statistics(torch.from_numpy(pixels))
    sizes = {sample.size(number) for number in range(len(sample))}
    return Preview(_common(sizes), mean, std, _thumbnails(originals))


def _spread(count: int) -> torch.Tensor:
    """At most so many numbers, in equal steps: images may be in the order of their classes."""
    step = max(1, count / _SAMPLE)
    return torch.tensor([int(place * step) for place in range(min(count, _SAMPLE))])


def _thumbnails(originals: Originals) -> tuple[tuple[str, str], ...]:
    firsts: dict[int, int] = {}
    for number, label in enumerate(originals.train.labels.tolist()):
        firsts.setdefault(label, number)
    return tuple(
        (originals.classes[label], _thumbnail(originals.train, firsts[label]))
        for label in sorted(firsts)[:_THUMBNAILS]
    )


def _common(sizes: set[tuple[int, int]]) -> int | None:
    width, height = next(iter(sizes))
    is_usable = len(sizes) == 1 and width == height and MIN_SIZE <= width <= MAX_SIZE
    return width if is_usable else None


def _thumbnail(pictures: Pictures, number: int) -> str:
    image = pictures.rgb(number)
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    file = BytesIO()
    image.save(file, "JPEG", quality=80)
    return base64.b64encode(file.getvalue()).decode()
