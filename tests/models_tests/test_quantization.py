"""Quantisation: an ONNX file in 8 bits that runs anywhere and says what it is."""

import json
from pathlib import Path

import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, fx

from pareconv.models.exporting import ExportError, export
from pareconv.models.graph import canonical
from pareconv.models.plan import Plan
from pareconv.models.quantization import OnnxNetwork, quantize
from pareconv.models.rewriting import rewrite
from pareconv.models.teachers.architectures import architecture

PLAN = Plan.from_json(
    {
        "layer1.0.conv2": "depthwise",
        "layer2.0.conv1": "ghost(ratio=2)",
        "layer3.0.conv1": "shift",
        "layer3.0.conv2": "adder",
    }
)


@pytest.fixture(scope="module")
def student(photographs: Tensor) -> fx.GraphModule:
    torch.manual_seed(0)
    teacher = canonical(architecture("cifar_resnet8").build(10))
    _gather(teacher, photographs)
    rebuilt = rewrite(teacher, PLAN, photographs[:32])
    _gather(rebuilt, photographs)
    return rebuilt


def _gather(network: fx.GraphModule, photographs: Tensor) -> None:
    """Running statistics of real images, as after training."""
    network.train()
    with torch.no_grad():
        for _ in range(20):
            network(photographs)
    network.eval()


@pytest.fixture(scope="module")
def source(
    student: fx.GraphModule, photographs: Tensor, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("quantization")
    images, metadata = photographs[:4], {"classes": ["Käfer", "b"]}
    [file] = export(student, folder, ["onnx"], images=images, metadata=metadata)
    return file.path


@pytest.fixture(scope="module")
def quantized(source: Path, photographs: Tensor) -> Path:
    target = source.with_name("student.int8.onnx")
    quantize(source, target, photographs)
    return target


def test_it_is_close_to_the_network_at_every_batch_size(
    student: fx.GraphModule, quantized: Path, photographs: Tensor
) -> None:
    run = OnnxNetwork(quantized)
    for batch in (1, 2, 5, 64):
        with torch.no_grad():
            expected = student(photographs[:batch])
        off = (run(photographs[:batch]) - expected).abs().mean() / expected.abs().mean()
        assert 0 < float(off) < 0.1


def test_it_is_one_smaller_file_of_standard_operators(source: Path, quantized: Path) -> None:
    onnx.checker.check_model(quantized, full_check=True)
    model = onnx.load(quantized, load_external_data=False)
    assert {node.domain for node in model.graph.node} == {""}
    assert all(not tensor.external_data for tensor in model.graph.initializer)
    assert {path.name for path in quantized.parent.iterdir()} == {source.name, quantized.name}
    assert quantized.stat().st_size < 0.7 * source.stat().st_size


def test_weights_have_a_scale_for_each_channel(quantized: Path) -> None:
    graph = onnx.load(quantized).graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    weights = [made[node.input[1]] for node in graph.node if node.op_type == "Conv"]
    assert weights
    for weight in weights:
        assert weight.op_type == "DequantizeLinear"
        stored, scales = (values[name] for name in weight.input[:2])
        assert (stored.dtype, scales.shape) == ("int8", stored.shape[:1])


def test_adder_layers_stay_in_floating_point(quantized: Path) -> None:
    graph = onnx.load(quantized).graph
    after = {node.input[0]: node.op_type for node in graph.node}
    sums = [node for node in graph.node if node.op_type == "ReduceSum"]
    assert sums
    assert all(after.get(node.output[0]) != "QuantizeLinear" for node in sums)


def test_the_metadata_travels_along(quantized: Path) -> None:
    found = {prop.key: prop.value for prop in onnx.load(quantized).metadata_props}
    assert json.loads(found["classes"]) == ["Käfer", "b"]


def test_what_is_no_network_is_refused(photographs: Tensor, tmp_path: Path) -> None:
    (tmp_path / "student.onnx").write_bytes(b"no graph")
    with pytest.raises(ExportError, match="onnx-int8: the network cannot be quantised: "):
        quantize(tmp_path / "student.onnx", tmp_path / "student.int8.onnx", photographs)
    assert [path.name for path in tmp_path.iterdir()] == ["student.onnx"]


def test_a_network_without_numbers_is_refused(
    source: Path, photographs: Tensor, tmp_path: Path
) -> None:
    broken = onnx.load(source)
    (bias,) = [each for each in broken.graph.initializer if each.name == "linear.bias"]
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) * float("nan"), bias.name))
    onnx.save(broken, tmp_path / "broken.onnx")
    with pytest.raises(ExportError, match="onnx-int8: "):
        quantize(tmp_path / "broken.onnx", tmp_path / "broken.int8.onnx", photographs)
