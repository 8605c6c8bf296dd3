"""Decoding: image files to pixels, in threads. Knows nothing of classes and archives.

Shapes: N images, S side in pixels; images are [3, S, S], red, green, blue.
"""

import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pareconv.search.data.originals import Pictures
from pareconv.search.errors import InvalidSpec

MAX_PIXELS = 50_000_000  # of one image; 150 MB of memory when decoded
# Named, so that no file in disguise reaches PIL's rarer readers, one of which starts Ghostscript.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP")

_CHUNK = 256
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def size_of(content: bytes, name: str) -> tuple[int, int]:
    """(width, height) in pixels, from the header alone."""
    return _opened(content, name).size


def decode(content: bytes, name: str) -> Image.Image:
    """The image in RGB; InvalidSpec where it is too large or corrupt."""
    return _rgb(_opened(content, name), name)


def decode_all(pictures: Pictures, pixels: NDArray[np.uint8], *, is_exact: bool) -> bool:
    """Fill `pixels` [N, 3, S, S] with all of them; whether any had another size before.

    Scaled to the square, bilinear with antialiasing; with `is_exact` an image of another size is
    InvalidSpec. Works in threads, and holds a few images at a time.
    """
    size = pixels.shape[-1]

    def fill(bounds: tuple[int, int]) -> bool:
        is_resized = False
        for number in range(*bounds):
            image = pictures.rgb(number)
            if image.size != (size, size):
                is_resized = True
                if is_exact:
                    raise _odd_size(image, pictures.name(number), size)
            pixels[number] = _scaled(image, size)
        return is_resized

    bounds = pairwise([*range(0, len(pictures), _CHUNK), len(pictures)])
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return any(list(threads.map(fill, bounds)))


def _scaled(image: Image.Image, size: int) -> NDArray[np.uint8]:
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)


def _opened(content: bytes, name: str) -> Image.Image:
    try:
        image = Image.open(BytesIO(content), formats=FORMATS)
    except _BOMBS as error:
        raise _too_large(name, str(error)) from error
    except _UNREADABLE as error:
        raise _corrupt(name, error) from error
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(name, f"{image.width} x {image.height} pixels")
    return image


def _rgb(image: Image.Image, name: str) -> Image.Image:
    try:
        if image.mode.startswith("I"):  # 16 bits of grey, which PIL would clip instead of scale
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        return image.convert("RGB")
    except _UNREADABLE as error:
        raise _corrupt(name, error) from error


def _odd_size(image: Image.Image, name: str, size: int) -> InvalidSpec:
    return InvalidSpec(
        "dataset.image_size",
        f"'auto' needs images of one size, but the first is {size} x {size} pixels and "
        f"{name} is {image.width} x {image.height}; "
        f"give image_size in pixels, such as {size}",
    )


def _too_large(name: str, found: str) -> InvalidSpec:
    return InvalidSpec(
        "dataset.source",
        f"the image {name[:200]!r} is too large ({found}), the limit is {MAX_PIXELS:,} pixels; "
        "scale it down or leave it out",
    )


def _corrupt(name: str, error: Exception) -> InvalidSpec:
    return InvalidSpec(
        "dataset.source",
        f"the image {name[:200]!r} cannot be decoded ({type(error).__name__}: {error}); "
        f"mend or remove it (readable are {', '.join(FORMATS)})",
    )
