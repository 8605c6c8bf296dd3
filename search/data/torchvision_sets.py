"""Torchvision's data sets, opened where they lie already. Downloads nothing."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pareconv.search.data.decoding import decode, size_of
from pareconv.search.data.originals import Originals, Pictures
from pareconv.search.data.torchvision_table import TORCHVISION_SETS, TorchvisionSet
from pareconv.search.errors import InvalidSpec

_Item = tuple[Any, int]  # an image, or the path of its file, and its label


@contextmanager
def open_set(name: str, path: Path) -> Iterator[Originals]:
    """The data set of the table at `path`: the root that torchvision takes, or the folder in it.

    InvalidSpec where its files are not there. torchvision compares the checksums of most, and of
    every pickle before it opens one.
    """
    known = TORCHVISION_SETS[name]
    root = _root(known, path)
    try:
        datasets = {
            split: _dataset(known, root, chosen)
            for split, chosen in zip(("train", "test", "validation"), known.splits, strict=False)
        }
        labels = {split: _labels(known, dataset) for split, dataset in datasets.items()}
        classes = _classes(datasets["train"], labels.values())
    except Exception as error:  # whatever a file that is missing or damaged leads to
        raise _missing(name, root, error) from error
    make = _of_files if known.is_of_files else _of_arrays
    pictures = {split: make(split, datasets[split], labels[split]) for split in datasets}
    yield Originals(classes, pictures["train"], pictures["test"], pictures.get("validation"))


def files(name: str, path: Path) -> tuple[Path, list[str]]:
    """Its root, and the files in it by their relative names."""
    known = TORCHVISION_SETS[name]
    root = _root(known, path)
    return root, [
        file.relative_to(root).as_posix() for file in root.glob(known.files) if file.is_file()
    ]


def _root(known: TorchvisionSet, path: Path) -> Path:
    is_its_folder = path.name == known.folder and not any(path.glob(known.files))
    return path.parent if is_its_folder else path


def _dataset(known: TorchvisionSet, root: Path, chosen: Mapping[str, Any]) -> Sequence[_Item]:
    # Here, as the import takes seconds that other data sets need not pay.
    from torchvision import datasets

    loader = {"loader": Path} if known.is_of_files else {}
    dataset: Sequence[_Item] = getattr(datasets, known.cls)(root, **chosen, **loader)
    if len(dataset) == 0:
        raise ValueError("a split is empty")
    return dataset


def _labels(known: TorchvisionSet, dataset: Any) -> Tensor:
    """int64 [N]."""
    if known.is_of_files:  # no image is read
        return torch.tensor([label for _, label in dataset])
    labels = dataset.targets if hasattr(dataset, "targets") else dataset.labels
    return torch.as_tensor(labels, dtype=torch.int64)


def _classes(train: Any, labels: Any) -> tuple[str, ...]:
    """Their names, where the data set knows them, or else their numbers."""
    count = 1 + max(int(each.max()) for each in labels)
    names = tuple(getattr(train, "classes", ()))
    return names if len(names) >= count else tuple(map(str, range(count)))


def _of_arrays(split: str, dataset: Sequence[_Item], labels: Tensor) -> Pictures:
    def image(number: int) -> Image.Image:
        found, _ = dataset[number]
        assert isinstance(found, Image.Image)
        return found

    return Pictures(
        labels,
        name=lambda number: f"image {number} of {split}",
        size=lambda number: image(number).size,
        rgb=lambda number: image(number).convert("RGB"),
    )


def _of_files(_split: str, dataset: Sequence[_Item], labels: Tensor) -> Pictures:
    # Read by us, as PIL would open any of its formats for torchvision.
    def content(number: int) -> tuple[bytes, str]:
        path, _ = dataset[number]
        try:
            return path.read_bytes(), path.name
        except OSError as error:
            raise InvalidSpec(
                "dataset.source", f"the image {path.name!r} cannot be read ({error})"
            ) from error

    return Pictures(
        labels,
        name=lambda number: repr(dataset[number][0].name),
        size=lambda number: size_of(*content(number)),
        rgb=lambda number: decode(*content(number)),
    )


def _missing(name: str, root: Path, error: Exception) -> InvalidSpec:
    known = TORCHVISION_SETS[name]
    return InvalidSpec(
        "dataset.source",
        f"{str(root)!r} holds no {known.folder or known.files} with the files and checksums of "
        f"{known.cls} ({error}); unpack them there as torchvision.datasets.{known.cls} does, which "
        "downloads them where that is allowed (this server does not)",
    )
