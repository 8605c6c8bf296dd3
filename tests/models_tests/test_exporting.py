"""Export: every file computes what the network does, says what it is, and needs no Pareconv."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, fx, nn

from pareconv.models import exporting
from pareconv.models.cost import count
from pareconv.models.exporting import Exported, ExportError, export
from pareconv.models.graph import canonical
from pareconv.models.plan import Plan
from pareconv.models.rewriting import rewrite
from pareconv.models.student import load_student
from pareconv.models.teachers.architecture import Architecture
from pareconv.models.teachers.architectures import architecture

# Every operator but `pointwise`: there are seven convolutions.
PLAN = Plan.from_json(
    {
        "conv1": "ghost(ratio=2)",
        "layer1.0.conv1": "bottleneck(reduction=2)",
        "layer1.0.conv2": "depthwise",
        "layer2.0.conv1": "svd(ratio=0.5)",
        "layer2.0.conv2": "hetconv(parts=4)",
        "layer3.0.conv1": "shift",
        "layer3.0.conv2": "group_pointwise(groups=4)",
    }
)
METADATA: dict[str, Any] = {
    "architecture": "cifar_resnet8",
    "num_classes": 10,
    "plan": PLAN.to_json(),
    "classes": ["Käfer", 'a "quoted" name', *"cdefghij"],
    "normalize": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
    "image_size": 32,
}
FORMATS = ("pt2", "onnx", "safetensors")

# What a user does who has torch and fvcore, and not this project.
FOREIGN = """
import sys
import numpy, torch
from fvcore.nn import FlopCountAnalysis

program = torch.export.load(sys.argv[1])
network = program.module()
numpy.save(sys.argv[3], network(torch.from_numpy(numpy.load(sys.argv[2]))).detach().numpy())
flops = FlopCountAnalysis(network, torch.zeros(1, 3, 32, 32)).unsupported_ops_warnings(False)
print(int(flops.total()), sum(parameter.numel() for parameter in network.parameters()))
print([name for name in sys.modules if name.startswith("pareconv")])
"""


@pytest.fixture(scope="module")
def student(photographs: Tensor) -> fx.GraphModule:
    torch.manual_seed(0)
    teacher = canonical(architecture("cifar_resnet8").build(10)).train()
    with torch.no_grad():
        for _ in range(20):  # running statistics of real images, as after training
            teacher(photographs)
    return rewrite(teacher.eval(), PLAN, photographs[:32])


@pytest.fixture(scope="module")
def exported(
    student: fx.GraphModule, photographs: Tensor, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Exported]:
    files = export(
        student,
        tmp_path_factory.mktemp("exported"),
        FORMATS,
        images=photographs[:16],
        metadata=METADATA,
    )
    return {file.format: file for file in files}


def run_pt2(path: Path) -> Callable[[Tensor], Tensor]:
    module = torch.export.load(path).module()
    return lambda images: module(images).detach()


def run_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def run_safetensors(path: Path) -> Callable[[Tensor], Tensor]:
    network = load_student(path)
    return lambda images: network(images).detach()


RUN = {"pt2": run_pt2, "onnx": run_onnx, "safetensors": run_safetensors}


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_equals_the_network_at_every_batch_size(
    format: str, student: fx.GraphModule, exported: dict[str, Exported], photographs: Tensor
) -> None:
    run = RUN[format](exported[format].path)
    for batch in (1, 2, 5, 64):
        with torch.no_grad():
            expected = student(photographs[:batch])
        torch.testing.assert_close(run(photographs[:batch]), expected, rtol=1e-3, atol=1e-4)


def test_each_format_is_one_file_and_its_difference_is_told(exported: dict[str, Exported]) -> None:
    assert list(exported) == list(FORMATS)
    folder = exported["pt2"].path.parent
    assert {path.name for path in folder.iterdir()} == {f"student.{format}" for format in FORMATS}
    for file in exported.values():
        assert file.path == folder / f"student.{file.format}"
        assert 0 <= file.difference < 1e-4


def test_metadata_travels_in_the_pt2(exported: dict[str, Exported]) -> None:
    extra = {"metadata.json": ""}
    torch.export.load(exported["pt2"].path, extra_files=extra)
    assert json.loads(extra["metadata.json"]) == METADATA


def test_metadata_travels_in_the_onnx(exported: dict[str, Exported]) -> None:
    props = onnx.load(exported["onnx"].path).metadata_props
    found = {prop.key: json.loads(prop.value) for prop in props if prop.key in METADATA}
    assert found == METADATA


def test_metadata_travels_in_the_safetensors(exported: dict[str, Exported]) -> None:
    with safe_open(exported["safetensors"].path, framework="pt") as file:
        found = {name: json.loads(value) for name, value in file.metadata().items()}
    assert found == METADATA


def test_the_onnx_is_one_valid_file_of_standard_operators(exported: dict[str, Exported]) -> None:
    path = exported["onnx"].path
    onnx.checker.check_model(path, full_check=True)
    model = onnx.load(path, load_external_data=False)
    assert {node.domain for node in model.graph.node} == {""}
    assert all(not tensor.external_data for tensor in model.graph.initializer)
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"


def test_anyone_counts_our_flops_and_gets_our_outputs(
    student: fx.GraphModule, exported: dict[str, Exported], photographs: Tensor, tmp_path: Path
) -> None:
    inputs, outputs = tmp_path / "inputs.npy", tmp_path / "outputs.npy"
    np.save(inputs, photographs[:5].numpy())
    ran = subprocess.run(
        [sys.executable, "-I", "-c", FOREIGN, exported["pt2"].path, inputs, outputs],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    counted, loaded = ran.stdout.splitlines()
    cost = count(student, 1, 3, 32, 32)
    assert counted == f"{cost.flops} {cost.params}"
    assert loaded == "[]"
    with torch.no_grad():
        expected = student(photographs[:5])
    torch.testing.assert_close(torch.from_numpy(np.load(outputs)), expected, rtol=1e-3, atol=1e-4)


def test_a_convnext_is_exported_too(
    small_convnext: Architecture, photographs: Tensor, tmp_path: Path
) -> None:
    """Its linear layers are convolutions to us, whose layer norms have their channels last."""
    torch.manual_seed(0)
    plan = {"features.1.0": "svd(ratio=0.5)", "features.3.0": "slim(ratio=0.5)"}
    teacher = canonical(small_convnext.build(10)).eval()
    student = rewrite(teacher, Plan.from_json(plan), photographs[:16])
    formats = ["pt2", "onnx"]
    files = export(student, tmp_path, formats, images=photographs[:4], metadata=METADATA)
    assert [file.format for file in files] == formats
    model = onnx.load(tmp_path / "student.onnx")
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("LayerNormalization") == 6
    assert operators.count("Transpose") == 2 * 6
    assert "MatMul" not in operators


@pytest.fixture
def stale(exported: dict[str, Exported], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every writer writes the file of `student`, whatever network it is given."""
    for format in FORMATS:
        written = exported[format].path
        monkeypatch.setitem(
            exporting._WRITERS, format, lambda _network, path, *_, was=written: copyfile(was, path)
        )


@pytest.mark.usefixtures("stale")
@pytest.mark.parametrize("format", FORMATS)
def test_a_file_whose_outputs_differ_is_refused(
    format: str, student: fx.GraphModule, photographs: Tensor, tmp_path: Path
) -> None:
    other = copy.deepcopy(student)
    with torch.no_grad():
        other.get_parameter("linear.weight")[0] *= 1.5
    with pytest.raises(ExportError, match=rf"{format}: .* differ .* by 0\.\d+ .* above 0\.001"):
        export(other, tmp_path, [format], images=photographs[:4], metadata=METADATA)


@pytest.mark.usefixtures("stale")
def test_a_network_that_gives_no_numbers_is_refused(
    student: fx.GraphModule, photographs: Tensor, tmp_path: Path
) -> None:
    broken = copy.deepcopy(student)
    with torch.no_grad():
        broken.get_parameter("linear.bias")[0] = torch.nan
    with pytest.raises(ExportError, match=r"onnx: .* differ .* by nan"):
        export(broken, tmp_path, ["onnx"], images=photographs[:2], metadata=METADATA)


def test_a_file_that_does_not_run_is_refused(
    student: fx.GraphModule, photographs: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        exporting._WRITERS, "onnx", lambda _network, path, *_rest: path.write_bytes(b"no graph")
    )
    with pytest.raises(ExportError, match="onnx: the file does not run in a clean process"):
        export(student, tmp_path, ["onnx"], images=photographs[:2], metadata=METADATA)


class Fickle(nn.Module):
    """Branches on what the image holds: no graph can say that."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) if float(x.sum()) > 0 else x.amax((2, 3))


class OneBatch(nn.Module):
    """Works for two images only, which is what the exporter is shown."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(2, 3, -1).mean(2)


@pytest.mark.parametrize("format", ["pt2", "onnx"])
@pytest.mark.parametrize("layer", [Fickle, OneBatch])
def test_a_network_that_cannot_be_exported_is_refused_by_format(
    layer: type[nn.Module], format: str, photographs: Tensor, tmp_path: Path
) -> None:
    graph = fx.Graph()
    graph.output(graph.call_module("layer", (graph.placeholder("x"),)))
    network = fx.GraphModule(nn.ModuleDict({"layer": layer()}), graph)
    with pytest.raises(ExportError, match=f"{format}: the network cannot be exported: "):
        export(network, tmp_path, [format], images=photographs[:2], metadata={})
