"""A student from its file: the same network again, and nothing else passes for one."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, fx

from pareconv.models.blocks import find_blocks
from pareconv.models.convolutions.base import CheapConv
from pareconv.models.errors import PlanError, UnknownArchitecture, WeightsError
from pareconv.models.exporting import export
from pareconv.models.graph import canonical
from pareconv.models.plan import Plan
from pareconv.models.rewriting import rewrite
from pareconv.models.student import load_student
from pareconv.models.teachers.architectures import architecture

PLAN = Plan.from_json({"conv1": "pointwise", "layer1.0": "svd(ratio=0.5)", "layer3.0": "shift"})


@pytest.fixture(scope="module")
def student() -> fx.GraphModule:
    torch.manual_seed(0)
    return rewrite(canonical(architecture("cifar_resnet8").build(7)).eval(), PLAN)


@pytest.fixture(scope="module")
def file(
    student: fx.GraphModule, photographs: Tensor, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    metadata = {"architecture": "cifar_resnet8", "num_classes": 7, "plan": PLAN.to_json()}
    folder = tmp_path_factory.mktemp("student")
    [exported] = export(student, folder, ["safetensors"], images=photographs[:2], metadata=metadata)
    return exported.path


def changed(file: Path, folder: Path, **metadata: object) -> Path:
    """The file with other metadata; None takes an entry away."""
    with safe_open(file, framework="pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        texts = dict(opened.metadata())
    texts |= {name: json.dumps(value) for name, value in metadata.items()}
    kept = {name: text for name, text in texts.items() if text != "null"}
    path = folder / "changed.safetensors"
    save_file(tensors, path, kept)
    return path


def test_it_is_the_same_network_again(
    file: Path, student: fx.GraphModule, photographs: Tensor
) -> None:
    loaded = load_student(file)
    assert not any(module.training for module in loaded.modules())
    assert list(loaded.state_dict()) == list(student.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(loaded(photographs), student(photographs), rtol=0, atol=0)


def test_it_can_be_taught_and_rewritten_further(file: Path, photographs: Tensor) -> None:
    loaded = load_student(file).train()
    loaded(photographs[:4]).square().mean().backward()
    assert all(parameter.grad is not None for parameter in loaded.parameters())
    assert [block.name for block in find_blocks(canonical(loaded), "block")] == ["layer2.0"]


def test_loading_leaves_the_random_state_alone(file: Path) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    load_student(file)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_weights_alone_are_no_student(student: fx.GraphModule, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(student.state_dict(), path)
    missing = "not an exported student: no architecture, num_classes, plan"
    with pytest.raises(WeightsError, match=rf"weights\.safetensors is {missing}$"):
        load_student(path)


def test_the_missing_entry_is_named(file: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no plan$"):
        load_student(changed(file, tmp_path, plan=None))


def test_a_file_of_another_library_is_refused(student: fx.GraphModule, tmp_path: Path) -> None:
    """Most write `{"format": "pt"}` into the header, which is no JSON value."""
    path = tmp_path / "other.safetensors"
    save_file(student.state_dict(), path, {"format": "pt"})
    with pytest.raises(WeightsError, match="not an exported student"):
        load_student(path)


@pytest.mark.parametrize("content", [b"", b"no safetensors at all"])
def test_another_kind_of_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "student.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"student\.safetensors"):
        load_student(path)


def test_weights_of_another_plan_are_refused(file: Path, tmp_path: Path) -> None:
    other = Plan.from_json({"layer1.0": "svd(ratio=0.25)"}).to_json()
    with pytest.raises(WeightsError, match=r"conv1\.pointwise\.weight"):
        load_student(changed(file, tmp_path, plan=other))


def test_an_unknown_architecture_is_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownArchitecture, match="cifar_resnet9"):
        load_student(changed(file, tmp_path, architecture="cifar_resnet9"))


@pytest.mark.parametrize("plan", [{"layer9": "shift"}, {"conv1": "winograd"}, {}])
def test_a_plan_that_does_not_fit_is_refused(plan: object, file: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError):
        load_student(changed(file, tmp_path, plan=plan))


def test_cheap_convolutions_are_there(file: Path) -> None:
    cheap = {
        name for name, module in load_student(file).named_modules() if isinstance(module, CheapConv)
    }
    assert cheap == {
        "conv1",
        "layer1.0.conv1",
        "layer1.0.conv2",
        "layer3.0.conv1",
        "layer3.0.conv2",
    }
