"""Pixels: what the values of an array of images mean, and an image made of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pareconv.search.data.archive import refused
from pareconv.search.data.decoding import MAX_PIXELS
from pareconv.search.data.npy import Header

Scale = Literal[1, 255]  # what a value is multiplied by to lie in 0..255

_CHANNELS = (1, 3)
_CHUNK_BYTES = 2**23


@dataclass(frozen=True, slots=True)
class Layout:
    """Images of `height` x `width` pixels; `channels_at` is the axis of their channels among those
    of one image, None where there is none.
    """

    height: int
    width: int
    channels_at: Literal[0, 2] | None


def layout_of(header: Header) -> Layout:
    """Of [N, H, W], [N, H, W, C] or [N, C, H, W]; InvalidSpec where it is none or could be two."""
    if header.dtype.kind not in "uif":
        raise refused(
            f"the images {header.name!r} are {header.dtype}; save them as uint8, 0 to 255"
        )
    match header.shape:
        case (_, height, width):
            layout = Layout(height, width, None)
        case (_, height, width, channels) if channels in _CHANNELS and height not in _CHANNELS:
            layout = Layout(height, width, 2)
        case (_, channels, height, width) if channels in _CHANNELS and width not in _CHANNELS:
            layout = Layout(height, width, 0)
        case _:
            raise refused(
                f"the images {header.name!r} have the shape {header.shape}, which is none of "
                "[N, H, W], [N, H, W, C] and [N, C, H, W] with 1 or 3 channels C, or more than one "
                "of them; save them as [N, H, W, 3]"
            )
    if not 0 < layout.height * layout.width <= MAX_PIXELS:
        raise refused(
            f"the images {header.name!r} are {layout.width} x {layout.height}; an image has at "
            f"least one pixel and at most {MAX_PIXELS:,}"
        )
    return layout


def scale_of(arrays: Sequence[NDArray[Any]]) -> Scale:
    """How the values of all are scaled to 0..255; InvalidSpec where that is not clear."""
    others = [array for array in arrays if array.dtype != np.uint8]
    if not others:
        return 1
    low, high, is_whole = 0.0, 0.0, True
    for array in others:
        for part in _parts(array):
            values = part.astype(np.float64)
            # A value that is no number makes every comparison below false.
            low, high = float(np.minimum(low, values.min())), float(np.maximum(high, values.max()))
            is_whole = is_whole and bool((values == np.rint(values)).all())
    is_float = all(array.dtype.kind == "f" for array in others)
    is_mixed = len({array.dtype for array in arrays}) > 1
    if low >= 0 and is_whole and 1 < high <= 255:
        return 1
    if low >= 0 and is_float and not is_mixed and 0 < high <= 1:
        return 255
    raise refused(
        f"the values of the images go from {low:g} to {high:g} as "
        f"{', '.join(sorted({str(array.dtype) for array in arrays}))}; they can be told for pixels "
        "where they are whole numbers from 0 to 255, or fractions from 0 to 1 in all arrays: save "
        "them as uint8"
    )


def rgb(values: NDArray[Any], layout: Layout, scale: Scale) -> Image.Image:
    """The image of one entry of such an array."""
    if scale != 1:
        values = np.rint(values * scale)
    values = values.astype(np.uint8)
    if layout.channels_at == 0:
        values = values.transpose(1, 2, 0)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    return Image.fromarray(np.ascontiguousarray(values)).convert("RGB")


def _parts(array: NDArray[Any]) -> list[NDArray[Any]]:
    step = max(1, _CHUNK_BYTES // max(1, array[:1].size * 8))
    return [array[start : start + step] for start in range(0, len(array), step)]
