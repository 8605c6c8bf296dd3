"""Files that nobody wrote on purpose: each is read, or refused in words; nothing else is raised.

`make test-slow` tries many more.
"""

import io
import random
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto
from PIL import Image
from safetensors.torch import save

from pareconv.models.errors import ModelError
from pareconv.models.teachers.architectures import architecture
from pareconv.models.teachers.onnx_file.conversion import convert
from pareconv.models.teachers.onnx_file.reading import read_onnx
from pareconv.models.teachers.weights import read_weights
from pareconv.search.data.preview import preview
from pareconv.search.data.sources import Source, opened
from pareconv.search.errors import InvalidSpec

SOME = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
MANY = settings(SOME, max_examples=5000)

SEEDS = st.integers(0, 2**32 - 1)


@cache
def network() -> bytes:
    """A small network as ONNX."""
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU(),
        torch.nn.MaxPool2d(2), torch.nn.Conv2d(4, 4, 3, groups=2), torch.nn.Hardswish(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 3),
    )  # fmt: skip
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(layers.eval(), (torch.zeros(1, 3, 16, 16),), file, dynamo=False)
    return file.getvalue()


@cache
def state() -> dict[str, torch.Tensor]:
    return architecture("cifar_resnet8").build(10).state_dict()


@cache
def pickled() -> bytes:
    file = io.BytesIO()
    torch.save(state(), file)
    return file.getvalue()


@cache
def safe() -> bytes:
    return save(state())


@cache
def images() -> bytes:
    """A zip of two classes of two images."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members().items():
            archive.writestr(name, content)
    return file.getvalue()


def members() -> dict[str, bytes]:
    found = {}
    for number in range(4):
        image = io.BytesIO()
        Image.new("RGB", (16, 16), (60 * number, 0, 0)).save(image, "PNG")
        found[f"{'cat' if number % 2 else 'dog'}/{number}.png"] = image.getvalue()
    return found


@cache
def tarred(mode: str) -> bytes:
    """The same as a tar, with a name too long for its header."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in {**members(), f"cat/{'x' * 200}.png": b"no image"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


@cache
def arrays() -> bytes:
    """A numpy archive of four images of two classes with names."""
    file = io.BytesIO()
    pixels = np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8)
    np.savez(file, images=pixels, labels=[0, 1, 0, 1], classes=np.array(["cat", "dog"]))
    return file.getvalue()


def scrambled(content: bytes, chance: random.Random) -> bytes:
    """Some bytes changed, left out or repeated, most of them near the start, where headers are."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        near = chance.random() < 0.7
        place = chance.randrange(min(len(changed), 2000) if near else len(changed))
        match chance.randrange(4):
            case 0:
                changed[place] = chance.randrange(256)
            case 1:
                changed[place] ^= 1 << chance.randrange(8)
            case 2:
                del changed[place : place + chance.randint(1, 16)]
            case 3:
                changed[place:place] = changed[place : place + chance.randint(1, 16)]
    return bytes(changed)


def contradicted(content: bytes, chance: random.Random) -> bytes:
    """A well-formed ONNX file of which some numbers, names and nodes are others."""
    model: ModelProto = onnx.load_model_from_string(content)
    for _ in range(chance.randint(1, 3)):
        node = chance.choice(model.graph.node)
        tensor = chance.choice(model.graph.initializer)
        number = chance.choice([-(2**40), -1, 0, 1, 2, 3, 7, 1000, 2**31, 2**40])
        match chance.randrange(7):
            case 0 if node.attribute and (ints := chance.choice(node.attribute).ints):
                ints[chance.randrange(len(ints))] = number
            case 1 if node.attribute:
                chance.choice(node.attribute).i = number
            case 2:
                tensor.dims[chance.randrange(len(tensor.dims))] = number
            case 3:
                node.op_type = chance.choice(model.graph.node).op_type
            case 4 if node.input:
                names = [*node.output, *chance.choice(model.graph.node).output, tensor.name, ""]
                node.input[chance.randrange(len(node.input))] = chance.choice(names)
            case 5:
                model.graph.node.remove(node)
            case 6:
                shape = model.graph.input[0].type.tensor_type.shape
                shape.dim[chance.randrange(4)].dim_value = number
    return model.SerializeToString()


def read_network(path: Path) -> None:
    convert(read_onnx(path))


def read_images(path: Path) -> None:
    with opened(Source("file", path), scratch=path.parent) as originals:
        preview(originals)


CASES: dict[str, tuple[Callable[[], bytes], Callable[..., bytes], Callable[[Path], object]]] = {
    "scrambled ONNX": (network, scrambled, read_network),
    "contradicted ONNX": (network, contradicted, read_network),
    "scrambled torch.save": (pickled, scrambled, read_weights),
    "scrambled safetensors": (safe, scrambled, read_weights),
    "scrambled zip of images": (images, scrambled, read_images),
    "scrambled tar of images": (partial(tarred, "w:"), scrambled, read_images),
    "scrambled tar.gz of images": (partial(tarred, "w:gz"), scrambled, read_images),
    "scrambled tar.xz of images": (partial(tarred, "w:xz"), scrambled, read_images),
    "scrambled numpy archive": (arrays, scrambled, read_images),
}


def check(name: str, seed: int, folder: Path) -> None:
    whole, change, read = CASES[name]
    path = folder / "file"
    path.write_bytes(change(whole(), random.Random(seed)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about names and shapes
        with suppress(ModelError, InvalidSpec):  # refused in words
            read(path)


@pytest.mark.parametrize("name", CASES)
@SOME
@given(seed=SEEDS)
def test_some_files(name: str, seed: int, tmp_path: Path) -> None:
    check(name, seed, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", CASES)
@MANY
@given(seed=SEEDS)
def test_many_files(name: str, seed: int, tmp_path: Path) -> None:
    check(name, seed, tmp_path)
