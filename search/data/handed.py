"""Images handed over in memory, as torch data sets: written once, as a numpy archive.

Every image becomes uint8 [3, H, W], so that what follows is the same as for any other source.
"""

import operator
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils import data as torch_data

from pareconv.search.errors import InvalidSpec

_SPLITS = {"train": "train", "validation": "val", "test": "test"}  # and their names in the archive

# Which show every image of the data set, in whatever order.
_WHOLE = (
    torch_data.SequentialSampler,
    torch_data.RandomSampler,
    torch_data.WeightedRandomSampler,
)
_ROUNDING = 1e-3  # of fractions that were scaled
_FORMS = "PIL images, uint8 tensors [3, H, W] or [1, H, W], or floats from 0 to 1"


def splits_of(data: object) -> dict[str, object]:
    """The splits of what was handed over, by name: of a mapping, of a tuple in the order train,
    validation, test, or one data set to train on. InvalidSpec where it is none of these.
    """
    if isinstance(data, Mapping):
        given = dict(data)
    elif isinstance(data, tuple):
        given = dict(zip(_SPLITS, data, strict=False))
        if len(data) > len(_SPLITS):
            raise InvalidSpec("data", f"{len(data)} splits; give train, validation and test")
    else:
        given = {"train": data}
    if unknown := given.keys() - _SPLITS:
        raise InvalidSpec("data", f"no split is called {min(unknown, key=str)!r}; give {_named()}")
    splits = {name: given[name] for name in _SPLITS if given.get(name) is not None}
    if "train" not in splits:
        raise InvalidSpec("data", f"there is no train split; give {_named()}")
    return splits


def write(splits: Mapping[str, object], path: Path) -> None:
    """The archive of all splits; the disk, not the memory, must hold their images.

    Raises InvalidSpec, on `data.<split>`, for an image or a label that cannot be taken as it is.
    """
    arrays: dict[str, Any] = {}
    with ExitStack() as stack:
        for name, split in splits.items():
            file = stack.enter_context(TemporaryFile(dir=path.parent))
            images, labels = _written(f"data.{name}", split, file)
            arrays |= {f"x_{_SPLITS[name]}": images, f"y_{_SPLITS[name]}": labels}
        if names := _class_names(splits["train"], arrays["y_train"]):
            arrays["classes"] = np.array(names)
        with path.open("wb") as archive:
            np.savez(archive, **arrays)


def _written(
    field: str, split: object, file: IO[bytes]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images [N, 3, H, W], mapped from the file, and labels [N]."""
    labels: list[int] = []
    shape: tuple[int, ...] | None = None
    for number, sample in enumerate(_samples(field, split)):
        where = f"image {number}"
        image, label = _pair(field, where, sample)
        pixels = _pixels(field, where, image)
        if shape not in (None, pixels.shape):
            raise InvalidSpec(
                field,
                f"{where} is {pixels.shape[2]} x {pixels.shape[1]} pixels, those before it are "
                f"{shape[2]} x {shape[1]}; scale them to one size in the data set's transform",
            )
        shape = pixels.shape
        file.write(pixels.tobytes())
        labels.append(label)
    if shape is None:
        raise InvalidSpec(field, "there is no image in it; add some or leave the split out")
    file.flush()
    images = np.memmap(file, np.uint8, mode="r", shape=(len(labels), *shape))
    return images, np.array(labels, np.int64)


def _samples(field: str, split: object) -> Iterator[Any]:
    """Each sample once, in the order of the data set: that of a loader may change each time."""
    workers = 0
    if isinstance(split, torch_data.DataLoader):
        workers, split = split.num_workers, _shown_by(split)
    if not isinstance(split, torch_data.Dataset):
        is_one = isinstance(split, Tensor | np.ndarray | str)
        if is_one or not (hasattr(split, "__iter__") or hasattr(split, "__getitem__")):
            raise InvalidSpec(
                field,
                f"a {type(split).__name__} is no data set; give a torch Dataset or DataLoader of "
                "(image, label)",
            )
        return iter(split)  # type: ignore[call-overload, no-any-return]
    return iter(
        torch_data.DataLoader(
            split,
            batch_size=None,
            num_workers=workers,
            collate_fn=_as_it_is,
            generator=torch.Generator(),  # that of the process stays as it is
        )
    )


def _shown_by(loader: "torch_data.DataLoader[Any]") -> object:
    if isinstance(loader.dataset, torch_data.IterableDataset):
        return loader.dataset
    chosen: Iterable[Any] = loader.sampler
    if loader.batch_sampler is not None:
        chosen = getattr(loader.batch_sampler, "sampler", None) or (
            index for batch in loader.batch_sampler for index in batch
        )
    if isinstance(chosen, _WHOLE):
        return loader.dataset
    return torch_data.Subset(loader.dataset, sorted(set(chosen)))


def _as_it_is(sample: Any) -> Any:
    return sample


def _pair(field: str, where: str, sample: Any) -> tuple[Any, int]:
    if not isinstance(sample, tuple | list) or len(sample) != 2:
        raise InvalidSpec(
            field, f"{where} comes as a {type(sample).__name__}; let it come as (image, label)"
        )
    try:
        return sample[0], operator.index(sample[1])
    except TypeError:
        raise InvalidSpec(
            field,
            f"the label of {where} is a {type(sample[1]).__name__}; give the number of its class, "
            "from 0",
        ) from None


def _pixels(field: str, where: str, image: Any) -> NDArray[np.uint8]:
    """uint8 [3, H, W]."""
    if isinstance(image, Image.Image) and image.mode[0] not in "IF":  # of more than eight bits
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    if not isinstance(image, Tensor):
        mode = f" of mode {image.mode}" if isinstance(image, Image.Image) else ""
        raise InvalidSpec(field, f"{where} is a {type(image).__name__}{mode}; give {_FORMS}")
    values = image.detach().cpu()
    values = values[None] if values.dim() == 2 else values
    if values.dim() != 3 or values.shape[0] not in (1, 3) or values.numel() == 0:
        raise InvalidSpec(field, f"{where} has the shape {list(image.shape)}; give {_FORMS}")
    if values.is_floating_point():
        values = _scaled(field, where, values)
    elif values.dtype != torch.uint8:
        raise InvalidSpec(field, f"{where} is {values.dtype}; give {_FORMS}")
    pixels: NDArray[np.uint8] = values.expand(3, -1, -1).contiguous().numpy()
    return pixels


def _scaled(field: str, where: str, values: Tensor) -> Tensor:
    low, high = float(values.min()), float(values.max())
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
        raise InvalidSpec(
            field,
            f"the values of {where} go from {low:.3g} to {high:.3g}, not from 0 to 1; if they are "
            "normalised already, hand them over as they were before and give the statistics as "
            "normalize={'mean': ..., 'std': ...}",
        )
    return values.clamp(0, 1).mul(255).round().to(torch.uint8)


def _class_names(split: object, labels: NDArray[np.int64]) -> list[str] | None:
    """Those of torchvision's data sets and of whatever follows them; None where they do not fit."""
    names = getattr(getattr(split, "dataset", split), "classes", None)
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return None
    is_fitting = len(names) == len(set(names)) == len(np.unique(labels))
    return list(names) if is_fitting and all(map(str.isprintable, names)) else None


def _named() -> str:
    return ", ".join(_SPLITS)
