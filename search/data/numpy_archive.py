"""Numpy archives (.npz): which of their arrays are the images and labels of which split.

Shapes: N images of H x W pixels, K classes; labels are [N], [N, 1], or one-hot [N, K].
"""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pareconv.search.data.archive import MAX_IMAGE_BYTES, refused
from pareconv.search.data.listing import VALIDATION_FOLDERS
from pareconv.search.data.npy import Header, headers
from pareconv.search.data.originals import Originals, Pictures
from pareconv.search.data.pixels import Layout, Scale, layout_of, rgb, scale_of
from pareconv.search.data.unpacking import scratch_file

logger = logging.getLogger(__name__)

# What the images and the labels of a split are called: by Keras, by MedMNIST.
_NAMES = (("x_{}", "y_{}"), ("{}_images", "{}_labels"))
_ALONE = (("images", "labels"), ("x", "y"))  # of an archive without splits
_CLASS_NAMES = ("classes", "class_names")
FORMS = (
    "x_train and y_train (with x_test and y_test, x_val and y_val), train_images and train_labels "
    "(with test_images, ...), or images and labels"
)
_CHUNK = 2**16  # labels

_Pair = tuple[Header, Header]


@contextmanager
def open_npz(path: Path, scratch: Path) -> Iterator[Originals]:
    """The images of the archive, unpacked in the folder `scratch` as soon as one is asked for.

    InvalidSpec where it is damaged, not safe to read, or cannot be told for images and labels.
    """
    found = headers(path)
    pairs = _pairs(found)
    for pair in pairs.values():
        _check_lengths(*pair)
    layouts = {split: layout_of(images) for split, (images, _) in pairs.items()}
    labels = {split: _labels(header, scratch) for split, (_, header) in pairs.items()}
    classes = _classes(found, labels, scratch)
    with ExitStack() as stack:
        arrays = _Arrays({split: images for split, (images, _) in pairs.items()}, scratch, stack)

        def pictures(split: str) -> Pictures | None:
            if split not in pairs:
                return None
            return _pictures(split, pairs[split][0], layouts[split], labels[split], arrays)

        train = pictures("train")
        assert train is not None
        yield Originals.arranged(
            classes, train, validation=pictures("validation"), test=pictures("test")
        )


class _Arrays:
    """The arrays of images, unpacked when one is first asked for; threads may share them."""

    def __init__(self, found: Mapping[str, Header], scratch: Path, stack: ExitStack) -> None:
        self._headers, self._scratch, self._stack = found, scratch, stack
        self._lock = threading.Lock()
        self._unpacked: tuple[dict[str, NDArray[Any]], Scale] | None = None

    def __call__(self) -> tuple[dict[str, NDArray[Any]], Scale]:
        """The array of each split, and how the values of all are scaled."""
        with self._lock:
            if self._unpacked is None:
                arrays = {
                    split: header.mapped(self._stack.enter_context(scratch_file(self._scratch)))
                    for split, header in self._headers.items()
                }
                self._unpacked = arrays, scale_of(list(arrays.values()))
            return self._unpacked


def _pictures(
    split: str, images: Header, layout: Layout, labels: NDArray[np.int64], arrays: _Arrays
) -> Pictures:
    def picture(number: int) -> Image.Image:
        unpacked, scale = arrays()
        return rgb(unpacked[split][number], layout, scale)

    return Pictures(
        torch.from_numpy(labels),
        name=lambda number: f"image {number} of {images.name}",
        size=lambda _: (layout.width, layout.height),
        rgb=picture,
    )


def _pairs(found: Mapping[str, Header]) -> dict[str, _Pair]:
    """Images and labels of train, and of validation and test where they are there."""
    for images, labels in _NAMES:
        if images.format("train") in found:
            named = {
                "train": (images.format("train"), labels.format("train")),
                "validation": _validation(found, images, labels),
                "test": (images.format("test"), labels.format("test")),
            }
            given = {split: pair for split, pair in named.items() if pair[0] in found}
            break
    else:
        alone = next((pair for pair in _ALONE if pair[0] in found), None)
        given = {} if alone is None else {"train": alone}
    if not given:
        raise refused(
            f"has the arrays {', '.join(map(repr, sorted(found)[:10]))}, none of which is known to "
            f"hold the images to train on; name them {FORMS}"
        )
    for images, labels in given.values():
        if labels not in found:
            raise refused(f"has the array {images!r} without {labels!r}; add the labels under it")
    _log_rest(set(found).difference(_CLASS_NAMES, *given.values()))
    return {split: (found[images], found[labels]) for split, (images, labels) in given.items()}


def _validation(found: Mapping[str, Header], images: str, labels: str) -> tuple[str, str]:
    name = next((name for name in VALIDATION_FOLDERS if images.format(name) in found), "val")
    return images.format(name), labels.format(name)


def _log_rest(names: set[str]) -> None:
    if names:
        logger.warning("the arrays %s are ignored", ", ".join(sorted(names)[:10]))


def _check_lengths(images: Header, labels: Header) -> None:
    if not images.shape or images.shape[0] == 0:
        raise refused(f"the array {images.name!r} has no image; add some or leave it out")
    if labels.shape[:1] != images.shape[:1]:
        raise refused(
            f"{images.name!r} has {images.shape[0]:,} images and {labels.name!r} the shape "
            f"{labels.shape}; give one label for each image"
        )


def _labels(header: Header, scratch: Path) -> NDArray[np.int64]:
    """int64 [N]."""
    is_one_hot = len(header.shape) == 2 and header.shape[1] > 1
    is_plain = len(header.shape) == 1 or header.shape[1:] == (1,)
    if not (is_one_hot or (is_plain and header.dtype.kind in "ui")):
        raise refused(
            f"the labels {header.name!r} are {header.dtype} {header.shape}; give whole numbers "
            "[N] or [N, 1], or one-hot [N, classes]"
        )
    with scratch_file(scratch) as file:
        values = header.mapped(file)
        parts = (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))
        return np.concatenate(
            [
                _from_one_hot(part, header.name) if is_one_hot else _whole(part, header.name)
                for part in parts
            ]
        )


def _whole(part: NDArray[Any], name: str) -> NDArray[np.int64]:
    labels = part.reshape(-1)
    if labels.min() < 0 or labels.max() >= 2**31:
        raise refused(f"{name!r} has the label {labels.min()}..{labels.max()}; count from 0")
    return labels.astype(np.int64)


def _from_one_hot(part: NDArray[Any], name: str) -> NDArray[np.int64]:
    is_hot = part == 1
    if (
        part.dtype.kind not in "buif"
        or not (is_hot | (part == 0)).all()
        or (is_hot.sum(1) != 1).any()
    ):
        raise refused(
            f"the labels {name!r} of shape [N, {part.shape[1]}] are not one-hot: some image has "
            "none or several; give each image one class"
        )
    labels: NDArray[np.int64] = is_hot.argmax(1).astype(np.int64)
    return labels


def _classes(
    found: Mapping[str, Header], labels: Mapping[str, NDArray[np.int64]], scratch: Path
) -> tuple[str, ...]:
    """Their names, or else their numbers; each has images to train on."""
    numbers = np.unique(labels["train"])
    missing = np.flatnonzero(numbers != np.arange(len(numbers)))
    if len(missing):
        raise refused(
            f"no image to train on has the label {missing[0]}, and one has {numbers[-1]}; number "
            "the classes from 0 without a gap"
        )
    given = next((found[name] for name in _CLASS_NAMES if name in found), None)
    names = list(map(str, numbers)) if given is None else _class_names(given, scratch)
    if len(names) != len(numbers) or len(names) < 2:
        raise refused(
            f"there are images of {len(numbers)} classes to train on and {len(names)} names; "
            "at least 2 classes are needed, each with a name of its own"
        )
    for split, others in labels.items():
        if others.max() >= len(names):
            raise refused(
                f"the {split} split has the label {others.max()}, and the {len(names)} classes of "
                f"train are numbered from 0 to {len(names) - 1}; use the same numbers"
            )
    return tuple(names)


def _class_names(header: Header, scratch: Path) -> Sequence[str]:
    if header.dtype.kind not in "US" or len(header.shape) != 1 or header.size > MAX_IMAGE_BYTES:
        raise refused(
            f"{header.name!r} is {header.dtype} {header.shape}; give the class names as one row of "
            "strings"
        )
    with scratch_file(scratch) as file:
        values = header.mapped(file) if header.shape[0] else np.array([], "U1")
        try:
            names = [_text(value)[:200] for value in values.tolist()]
        except ValueError as error:
            raise refused(f"{header.name!r} holds names that are no text ({error})") from error
    if len(set(names)) < len(names) or not all(map(str.isprintable, names)) or "" in names:
        raise refused(f"{header.name!r} has a name twice, or one that cannot be printed; mend it")
    return names


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
