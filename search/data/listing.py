"""A listing: the class and the split of each image of an archive. Knows names alone, no bytes."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from pareconv.search.errors import InvalidSpec

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
VALIDATION_FOLDERS = ("val", "valid", "validation")  # the first that exists counts
LAYOUTS = (
    "train/<class>/<image> with test/<class>/<image>, val/<class>/<image> or both, "
    "or <class>/<image>"
)

Member = tuple[str, int]  # (name inside the archive, class index)
Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """The table of contents of an image folder; a split that it has not is empty.

    Classes are sorted by name, as torchvision's ImageFolder numbers them; members by name.
    """

    classes: tuple[str, ...]
    train: tuple[Member, ...]
    validation: tuple[Member, ...]
    test: tuple[Member, ...]
    total_bytes: int


def is_image(name: str) -> bool:
    """By its suffix; what is hidden or written by macOS' archiver is none."""
    path = PurePosixPath(name)
    is_hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return not is_hidden and path.suffix.lower() in IMAGE_SUFFIXES


def arrange(names: Iterable[str], total_bytes: int) -> Listing:
    """Sorts member names into classes and splits; raises InvalidSpec where that makes no sense."""
    images = {name: PurePosixPath(name).parts for name in sorted(names) if is_image(name)}
    if not images:
        raise InvalidSpec(
            "dataset.source",
            f"holds no image ({' '.join(sorted(IMAGE_SUFFIXES))}); at least two classes with "
            f"images are needed, laid out as {LAYOUTS}",
        )
    train, validation, test = _splits(_unwrapped(images))
    classes = tuple(sorted(set(train.values())))
    _check_classes(classes, {"validation": set(validation.values()), "test": set(test.values())})
    index = {name: number for number, name in enumerate(classes)}

    def numbered(members: Mapping[str, str]) -> tuple[Member, ...]:
        return tuple((name, index[label]) for name, label in members.items())

    return Listing(classes, numbered(train), numbered(validation), numbered(test), total_bytes)


def _unwrapped(images: Mapping[str, Parts]) -> dict[str, Parts]:
    """Without the one folder that many archivers wrap around everything."""
    tops = {parts[0] for parts in images.values()}
    is_split = "train" in {top.casefold() for top in tops}
    is_wrapped = len(tops) == 1 and not is_split and all(len(p) >= 3 for p in images.values())
    return {name: parts[1:] if is_wrapped else parts for name, parts in images.items()}


def _splits(images: Mapping[str, Parts]) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Class names of the members of train, of validation and of test."""
    folders = {parts[0].casefold() for parts in images.values()}
    if "train" not in folders:
        _refuse_deeper(images)
        return {name: _class_of(name, parts, depth=0) for name, parts in images.items()}, {}, {}
    given = next((folder for folder in VALIDATION_FOLDERS if folder in folders), "val")
    train, validation, test = (_under(folder, images) for folder in ("train", given, "test"))
    num_ignored = len(images) - len(train) - len(validation) - len(test)
    if num_ignored:
        logger.warning("%d images outside train/, %s/ and test/ are ignored", num_ignored, given)
    return train, validation, test


def _refuse_deeper(images: Mapping[str, Parts]) -> None:
    """Below train/<class>/ deeper folders are harmless; without train/ they would hide a typing
    error in that very name, and make classes of what are splits.
    """
    deeper = next((name for name, parts in images.items() if len(parts) > 2), None)
    if deeper is not None:
        tops = sorted({parts[0] for parts in images.values()})
        raise InvalidSpec(
            "dataset.source",
            f"the image {deeper[:200]!r} lies in no class folder: the outermost folders are "
            f"{', '.join(tops)[:200]}, none of them train; lay the images out as {LAYOUTS}",
        )


def _under(folder: str, images: Mapping[str, Parts]) -> dict[str, str]:
    return {
        name: _class_of(name, parts, depth=1)
        for name, parts in images.items()
        if parts[0].casefold() == folder
    }


def _class_of(name: str, parts: Parts, depth: int) -> str:
    if len(parts) < depth + 2:
        raise InvalidSpec(
            "dataset.source",
            f"the image {name[:200]!r} lies in no class folder; lay the images out as {LAYOUTS}",
        )
    return parts[depth]


def _check_classes(classes: tuple[str, ...], others: Mapping[str, set[str]]) -> None:
    if len(classes) < 2:
        raise InvalidSpec(
            "dataset.source",
            f"has 1 class, {classes[0]!r}, and at least 2 are needed; "
            f"lay the images out as {LAYOUTS}",
        )
    for split, found in others.items():
        unknown = sorted(found.difference(classes))
        if unknown:
            raise InvalidSpec(
                "dataset.source",
                f"{len(unknown)} of the {len(found)} classes of the {split} split are not among "
                f"the {len(classes)} of train, such as {', '.join(map(repr, unknown[:3]))}; "
                "name the class folders of all splits alike",
            )
