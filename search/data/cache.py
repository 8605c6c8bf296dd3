"""The cache of decoded images: one safetensors file per data set and size, loaded memory-mapped.

It trusts the content's fingerprint, and never what it finds: a damaged file is made anew.
"""

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pareconv.search.data.images import Images

logger = logging.getLogger(__name__)

VERSION = 1  # to be raised with any change of decoding, scaling or splitting

_TENSORS = ("train_images", "train_labels", "test_images", "test_labels")


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


def entry(cache: Path, kind: str, fingerprint: str, variant: str) -> Path:
    """Where the images of this content and variant (size, way of scaling) are kept."""
    key = json.dumps([VERSION, kind, fingerprint, variant])
    return cache / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"


def through(path: Path, name: str, decode: Callable[[], Images]) -> Images:
    """The images kept at `path`, or else those of `decode`, kept there for the next time."""
    found = read(path, name)
    return keep(path, decode()) if found is None else found


def read(path: Path, name: str) -> Images | None:
    """The images kept at `path`, memory-mapped, as data set `name`; None if none can be trusted."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            classes = tuple(json.loads(file.metadata()["classes"]))
            images = Images(name, classes, *(file.get_tensor(key) for key in _TENSORS))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        logger.warning("damaged cache file %s is made anew: %s", path.name, error)
        return None
    if not _is_sound(images):
        logger.warning("damaged cache file %s is made anew: its tensors do not fit", path.name)
        return None
    return images


def keep(path: Path, images: Images) -> Images:
    """The same images, memory-mapped from `path` if they could be kept there."""
    try:
        _save(path, images)
    except (SafetensorError, OSError) as error:
        logger.warning("decoded images cannot be kept in %s: %s", path.parent, error)
        return images
    return read(path, images.name) or images


def _save(path: Path, images: Images) -> None:
    """A reader sees the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{secrets.token_hex(8)}.part")
    tensors = {key: getattr(images, key).contiguous() for key in _TENSORS}
    try:
        save_file(tensors, part, metadata={"classes": json.dumps(images.classes)})
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _is_sound(images: Images) -> bool:
    return all(
        pixels.dtype == torch.uint8
        and pixels.dim() == 4
        and labels.dtype == torch.int64
        and labels.shape == (len(pixels),)
        and len(labels) > 0
        and 0 <= int(labels.min()) <= int(labels.max()) < len(images.classes)
        for pixels, labels in (
            (images.train_images, images.train_labels),
            (images.test_images, images.test_labels),
        )
    )
