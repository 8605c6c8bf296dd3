"""CIFAR-10 and CIFAR-100 in the python format that torchvision reads. Downloads nothing."""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100

from pareconv.search.data import cache
from pareconv.search.data.images import Images, require_memory, resize
from pareconv.search.errors import InvalidSpec

AUTO_SIZE = 32

Kind = Literal["cifar10", "cifar100"]

_DATASETS: dict[Kind, type[CIFAR10]] = {"cifar10": CIFAR10, "cifar100": CIFAR100}


def load(kind: Kind, path: Path, *, size: int, directory: Path) -> Images:
    """The data set at `path`: the folder that holds torchvision's batches folder, or that itself.

    torchvision compares the checksum of every file before it unpickles one. `directory` keeps the
    cache.
    """
    dataset = _DATASETS[kind]
    root = path.parent if path.name == dataset.base_folder else path
    try:
        fingerprint = cache.folder_fingerprint(root / dataset.base_folder, _files(dataset))
    except OSError as error:
        raise _missing(dataset, root) from error
    kept = cache.entry(directory, kind, fingerprint, str(size))
    return cache.through(kept, kind, lambda: _decoded(kind, root, size))


def _decoded(kind: Kind, root: Path, size: int) -> Images:
    dataset = _DATASETS[kind]
    try:
        train, test = dataset(root, train=True), dataset(root, train=False)
    except RuntimeError as error:  # a checksum differs
        raise _missing(dataset, root) from error
    require_memory(len(train) + len(test), size)
    return Images(
        name=kind,
        classes=tuple(train.classes),
        train_images=_images(train, size),
        train_labels=torch.tensor(train.targets),
        test_images=_images(test, size),
        test_labels=torch.tensor(test.targets),
    )


def _images(dataset: CIFAR10, size: int) -> Tensor:
    return resize(torch.from_numpy(dataset.data).permute(0, 3, 1, 2), size)


def _files(dataset: type[CIFAR10]) -> list[str]:
    batches = [*dataset.train_list, *dataset.test_list]
    return [dataset.meta["filename"], *(name for name, _ in batches)]


def _missing(dataset: type[CIFAR10], root: Path) -> InvalidSpec:
    return InvalidSpec(
        "dataset.source",
        f"{str(root)!r} holds no {dataset.base_folder} with the files and checksums of "
        f"{dataset.__name__}; unpack {dataset.url} there",
    )
