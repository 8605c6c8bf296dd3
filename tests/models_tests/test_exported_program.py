"""Teachers from .pt2 files: the network of the program; none is loaded where it is not trusted."""

import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from pareconv.models.errors import ModelError, OnnxError, ProgramError
from pareconv.models.teachers.architectures import architecture
from pareconv.models.teachers.exported_program import check_program, is_program, read_program
from pareconv.models.teachers.model_file import of_file
from pareconv.models.teachers.onnx_file.teacher import photographs


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    network = architecture("cifar_resnet8_b").build(10).train()
    with torch.no_grad():
        network(photographs(32))
    return network.eval()


@pytest.fixture(scope="module", params=["any number of images", "one image"])
def file(network: nn.Module, request: pytest.FixtureRequest, tmp_path_factory) -> Path:
    is_free = request.param != "one image"
    shapes = ({0: torch.export.Dim("images")},) if is_free else None
    images = torch.zeros(2 if is_free else 1, 3, 32, 32)
    path = tmp_path_factory.mktemp("program") / "network.pt2"
    torch.export.save(torch.export.export(network, (images,), dynamic_shapes=shapes), path)
    return path


def test_it_is_the_network_of_the_program(file: Path, network: nn.Module) -> None:
    assert is_program(file)
    found = check_program(file)
    assert (found.classes, found.ends.size, found.norms_restored) == (10, 32, 0)
    assert found.difference < 1e-5
    images = photographs(32)
    with torch.no_grad():
        torch.testing.assert_close(found.network(images), network(images))
    kept = {name for name, value in network.state_dict().items() if value.dim() == 4}
    assert kept <= set(found.network.state_dict())
    parameters = sum(value.numel() for value in network.parameters())
    assert sum(value.numel() for value in found.network.parameters()) == parameters


def test_it_is_loaded_where_it_is_trusted_alone(file: Path) -> None:
    with pytest.raises(ProgramError, match=r"can run code .*PARECONV_TRUST_PROGRAMS=1"):
        of_file("teacher:1", file)
    teacher = of_file("teacher:1", file, trusted=True)
    assert (teacher.classes, teacher.default_size) == (10, 32)
    with torch.no_grad():
        assert teacher.build(4)(photographs(32)).shape == (8, 4)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (Path("code-of-a-stranger-ran"),))


def test_nothing_runs_where_it_is_not_trusted(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("models/model.json", "data/sample_inputs/model.pt", "archive_format"):
            archive.writestr(f"evil/{name}", pickle.dumps(Evil()))
    with pytest.raises(ProgramError):
        of_file("teacher:1", path)
    assert [each.name for each in tmp_path.iterdir()] == ["evil.pt2"]


def test_a_damaged_program_is_refused(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.pt2"
    with zipfile.ZipFile(file) as whole, zipfile.ZipFile(path, "w") as archive:
        for name in whole.namelist():
            content = whole.read(name)
            archive.writestr(name, content[:20] if name.endswith(".json") else content)
    with pytest.raises(ProgramError, match=r"cannot be loaded by torch .*torch\.export\.save"):
        read_program(path)


def test_a_program_of_no_classifier_is_refused(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softplus(), nn.Flatten()).eval()
    path = tmp_path / "other.pt2"
    torch.export.save(torch.export.export(network, (torch.zeros(1, 3, 8, 8),)), path)
    with pytest.raises(OnnxError, match=r"needs .*Softplus"):
        check_program(path)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 cut"])
def test_what_is_no_program_is_not_taken_for_one(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert not is_program(path)
    with pytest.raises(ModelError, match="is no ONNX file"):
        of_file("teacher:1", path, trusted=True)
