"""Networks of installed packages, found as any package's entry points are."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pareconv.models.blocks import find_blocks
from pareconv.models.errors import ModelError, UnknownArchitecture
from pareconv.models.graph import canonical
from pareconv.models.plan import Plan
from pareconv.models.rewriting import rewrite
from pareconv.models.student import load_student
from pareconv.models.teachers.architectures import architecture, architectures

CODE = """
from torch import nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt

def convnext(num_classes):
    return ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], num_classes=num_classes)

def small(num_classes):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes),
    )

def broken(num_classes):
    raise KeyError("no such width")

def nothing(num_classes):
    return num_classes

resnet18 = small
"""
NAMES = ("small", "convnext", "broken", "nothing", "resnet18")


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of a user's, as pip lays it down."""
    (tmp_path / "their_networks.py").write_text(CODE)
    told = tmp_path / "their_networks-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: their-networks\nVersion: 1.0\n")
    entries = "\n".join(f"{name} = their_networks:{name}" for name in NAMES)
    (told / "entry_points.txt").write_text(
        f"[pareconv.architectures]\n{entries}\nlost = no.such:x\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


def test_it_is_listed_and_built_as_any() -> None:
    found = architectures("small")[0]
    assert (found.name, found.family) == ("small", "their-networks")
    network = canonical(architecture("small").build(5))
    assert network(torch.zeros(2, 3, 16, 16)).shape == (2, 5)
    assert [block.name for block in find_blocks(network, "block")] == ["0", "3"]


def test_its_student_is_loaded_back(tmp_path: Path) -> None:
    """Of a network with linear layers that are convolutions to us, kept ones among them."""
    plan = Plan.from_json({"features.1.0": "svd(ratio=0.5)"})
    student = rewrite(canonical(architecture("convnext").build(5)), plan).eval()
    metadata = {"architecture": "convnext", "num_classes": 5, "plan": plan.to_json()}
    texts = {name: json.dumps(value) for name, value in metadata.items()}
    save_file(student.state_dict(), tmp_path / "student.safetensors", texts)
    loaded = load_student(tmp_path / "student.safetensors")
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(images), student(images))


def test_a_name_of_the_zoo_stays_the_zoos() -> None:
    assert architecture("resnet18").family == "resnet"
    assert [each.family for each in architectures() if each.name == "resnet18"] == ["resnet"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "broken",
            r"broken \(their_networks:broken\) cannot be built: KeyError\('no such width'\)",
        ),
        ("nothing", r"gave a int, not an nn\.Module"),
        ("lost", r"lost \(no\.such:x\) cannot be built: ModuleNotFoundError"),
    ],
)
def test_a_package_that_fails_is_named(name: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        architecture(name).build(3)


def test_its_names_are_offered_where_one_is_unknown() -> None:
    with pytest.raises(UnknownArchitecture, match=r"'smal'; the nearest are small"):
        architecture("smal")
