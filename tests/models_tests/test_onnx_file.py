"""Teachers from ONNX files: the network of the file, whoever wrote it; unsafe ones refused."""

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import Tensor, fx, nn

from pareconv.models.blocks import find_blocks
from pareconv.models.errors import OnnxError
from pareconv.models.exporting import export
from pareconv.models.plan import Option, Plan
from pareconv.models.rewriting import rewrite
from pareconv.models.student import load_student
from pareconv.models.teachers.architectures import architecture
from pareconv.models.teachers.head import classes_of, head
from pareconv.models.teachers.model_file import OF_FILE, of_file
from pareconv.models.teachers.onnx_file.norms import anchor_norms, fresh_norms
from pareconv.models.teachers.onnx_file.reading import is_onnx
from pareconv.models.teachers.onnx_file.registry import CONVERTERS
from pareconv.models.teachers.onnx_file.teacher import check_onnx, photographs

Exporter = Callable[[nn.Module, Path, int], None]


def by_script(network: nn.Module, path: Path, size: int) -> None:
    """For any number of images."""
    options = {"input_names": ["x"], "dynamic_axes": {"x": {0: "images"}}}
    _by_script(network, path, torch.zeros(2, 3, size, size), opset_version=13, **options)


def for_one_image(network: nn.Module, path: Path, size: int) -> None:
    _by_script(network, path, torch.zeros(1, 3, size, size))


def _by_script(network: nn.Module, path: Path, images: Tensor, **options: Any) -> None:
    """By torch's exporter of before 2.9, which warns that it is old."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (images,), path, dynamo=False, **options)


def by_dynamo(network: nn.Module, path: Path, size: int) -> None:
    _by_dynamo(network, path, size, optimize=True)


def unoptimized(network: nn.Module, path: Path, size: int) -> None:
    """As the exporter translates it: batch norms are still there."""
    _by_dynamo(network, path, size, optimize=False)


def _by_dynamo(network: nn.Module, path: Path, size: int, *, optimize: bool) -> None:
    program = torch.onnx.export(
        network, (torch.zeros(2, 3, size, size),), dynamo=True, verbose=False, optimize=optimize,
        dynamic_shapes=({0: torch.export.Dim("images")},),
    )  # fmt: skip
    assert program is not None
    program.save(path)


EXPORTED: list[tuple[str, Exporter]] = [
    ("cifar_resnet8", by_script),
    ("cifar_resnet8", for_one_image),
    ("cifar_resnet8", by_dynamo),
    ("cifar_resnet8", unoptimized),
    ("squeezenet1_1", for_one_image),
    ("mobilenet_v3_small", by_script),
    ("shufflenet_v2_x0_5", by_script),
    ("shufflenet_v2_x0_5", unoptimized),
]


def trained_like(name: str, classes: int = 10) -> nn.Module:
    """With batch norms that are no longer those of a network that has seen nothing."""
    torch.manual_seed(0)
    network = architecture(name).build(classes).train()
    with torch.no_grad():
        network(photographs(64))
    return network.eval()


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return trained_like("cifar_resnet8_b")


@pytest.fixture
def file(network: nn.Module, tmp_path: Path) -> Path:
    by_script(network, path := tmp_path / "network.onnx", 32)
    return path


@pytest.mark.parametrize(("name", "exporter"), EXPORTED)
def test_it_is_the_network_of_the_file(name: str, exporter: Exporter, tmp_path: Path) -> None:
    size = 32 if name.startswith("cifar") else 64
    network = trained_like(name)
    exporter(network, path := tmp_path / "network.onnx", size)
    assert is_onnx(path)
    found = check_onnx(path)  # against onnxruntime, on photographs
    assert (found.classes, found.ends.size) == (10, size)
    images = photographs(size)
    with torch.no_grad():
        torch.testing.assert_close(found.network(images), network(images), rtol=1e-4, atol=1e-4)
    kept = {k.rpartition(".")[0] for k, v in network.state_dict().items() if v.dim() == 4}
    named = {k.rpartition(".")[0] for k, v in found.network.state_dict().items() if v.dim() == 4}
    assert named == kept  # convolutions have the names that they had
    assert find_blocks(found.network, "block")


@pytest.mark.parametrize("exporter", [by_script, by_dynamo])
def test_folded_norms_come_back(exporter: Exporter, network: nn.Module, tmp_path: Path) -> None:
    exporter(network, path := tmp_path / "network.onnx", 32)
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(path).graph.node}
    found = check_onnx(path)
    assert found.norms_restored == 9
    assert count(found.network) == count(network)

    images = photographs(32)
    with torch.no_grad():
        before = found.network(images)
        anchor_norms(found.network, images)
        torch.testing.assert_close(found.network(images), before, rtol=1e-4, atol=1e-4)
        assert not fresh_norms(found.network)
        # In training it is normalised by what the norms have seen: the same images, the same again.
        torch.testing.assert_close(found.network.train()(images), before, rtol=0.05, atol=0.05)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_norms_come_back_beside_those_that_could_not_be_folded(tmp_path: Path) -> None:
    """And none comes to the convolutions of squeeze and excitation, which had none."""
    network = trained_like("mobilenet_v3_small")
    convolution, norm, _ = network.features[12]
    network.features[12] = nn.Sequential(convolution, norm, nn.Sigmoid(), nn.BatchNorm2d(576))
    network.features[12][3].running_mean.fill_(0.5)  # it has seen something
    by_script(network.eval(), path := tmp_path / "network.onnx", 64)
    kinds = [node.op_type for node in onnx.load(path).graph.node]
    assert kinds.count("BatchNormalization") == 1
    found = check_onnx(path)
    assert found.norms_restored == 34
    assert count(found.network) == count(network)


def test_norms_that_are_there_stay_as_they_are(network: nn.Module, tmp_path: Path) -> None:
    unoptimized(network, path := tmp_path / "network.onnx", 32)
    found = check_onnx(path)
    assert found.norms_restored == 0
    before = {name: value.clone() for name, value in found.network.state_dict().items()}
    anchor_norms(found.network, photographs(32))
    for name, value in found.network.state_dict().items():
        assert torch.equal(value, before[name]), name


def tensorflow_like(folder: Path) -> Path:
    """As tf2onnx writes it: channels last, and probabilities at the end."""
    random = np.random.default_rng(0)
    weights = {
        "conv/kernel": random.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        "dense/kernel": random.normal(0, 0.3, (8, 5)).astype(np.float32),
        "dense/bias": random.normal(0, 0.3, 5).astype(np.float32),
    }
    nodes = [
        helper.make_node("Transpose", ["images"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "Conv", ["first", "conv/kernel"], ["c"], "model/conv", auto_pad="SAME_UPPER"
        ),
        helper.make_node("Relu", ["c"], ["r"], "model/relu"),
        helper.make_node("Transpose", ["r"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("ReduceMean", ["last"], ["m"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["m", "dense/kernel"], ["d"]),
        helper.make_node("Add", ["d", "dense/bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    return saved(nodes, weights, folder, taken=["images", (None, 16, 16, 3)], given="probabilities")


def saved(
    nodes: list[onnx.NodeProto],
    weights: dict[str, "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"],
    folder: Path,
    *,
    taken: list[object],
    given: str,
    opset: int = 13,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(taken[0], TensorProto.FLOAT, taken[1])],
        [helper.make_tensor_value_info(given, TensorProto.FLOAT, [None, None])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path := folder / "assembled.onnx")
    return path


def test_a_file_of_tensorflow_takes_images_as_all_do(tmp_path: Path) -> None:
    found = check_onnx(tensorflow_like(tmp_path))
    assert (found.ends.channels_last, found.ends.softmax, found.ends.size) == (True, True, 16)
    with torch.no_grad():
        scores = found.network(photographs(16))
    assert scores.shape == (8, 5)
    assert not torch.allclose(scores.sum(dim=1), torch.ones(8))  # no probabilities
    _, layer = head(found.network)
    assert isinstance(layer, nn.Linear)
    assert layer.bias is not None


def test_a_student_of_a_file_loads_with_the_file(file: Path, tmp_path: Path) -> None:
    teacher = of_file("teacher:1", file)
    assert teacher.default_size == 32
    network = check_onnx(file).network
    plan = Plan({"layer1.0": Option.parse("svd(ratio=0.5)"), "layer3.0": Option.parse("shift")})
    student = rewrite(network, plan).eval()
    called = f"{OF_FILE}{hashlib.sha256(file.read_bytes()).hexdigest()}"
    metadata = {"architecture": called, "num_classes": 10, "plan": plan.to_json()}
    images = photographs(32)
    for exported in export(
        student, tmp_path, ["safetensors", "onnx"], images=images, metadata=metadata, teacher=file
    ):
        assert exported.difference < 1e-3
    path = tmp_path / "student.safetensors"
    with torch.no_grad():
        torch.testing.assert_close(load_student(path, file)(images), student(images))
    with pytest.raises(ValueError, match="came as a file; give that"):
        load_student(path)
    with pytest.raises(ValueError, match=r"'student\.safetensors' is not the file"):
        load_student(path, path)


def test_a_file_of_other_classes_has_a_fresh_head_and_all_else(
    file: Path, network: nn.Module
) -> None:
    found = of_file("teacher:1", file)
    assert found.classes == 10
    built = found.build(3)
    assert isinstance(built, fx.GraphModule)
    assert classes_of(built) == 3
    kept = {name: value for name, value in built.state_dict().items() if "conv1.weight" in name}
    assert kept
    with torch.no_grad():
        assert built(photographs(32)).shape == (8, 3)
        whole = found.build(10)
        torch.testing.assert_close(whole(photographs(32)), network(photographs(32)))


def test_a_format_that_is_newer_than_its_operators_is_taken(file: Path) -> None:
    """As `onnx.helper.make_model` writes it, before onnxruntime reads that version."""
    model = onnx.load(file)
    model.ir_version = onnx.IR_VERSION
    onnx.save(model, file)
    assert check_onnx(file).classes == 10


def test_weights_alone_are_no_network(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, path := tmp_path / "weights.pt")
    assert not is_onnx(path)
    with pytest.raises(OnnxError, match=r"teacher:1 is no ONNX file; export a network of your own"):
        of_file("teacher:1", path)


def changed(file: Path, change: Callable[[ModelProto], object]) -> Path:
    model = onnx.load(file)
    change(model)
    file.write_bytes(model.SerializeToString())
    return file


def outside(model: ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../etc/passwd")


def outside_in_an_attribute(model: ModelProto) -> None:
    constant = helper.make_node("Constant", [], ["c"], value=helper.make_tensor("t", 1, [1], [0.0]))
    constant.attribute[0].t.data_location = TensorProto.EXTERNAL
    model.graph.node.insert(0, constant)


def cycle(model: ModelProto) -> None:
    first, second = model.graph.node[:2]
    first.input[0] = second.output[0]


def loop(model: ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], ["z"], body=body))
    model.graph.output[0].name = "z"


def giant(model: ModelProto) -> None:
    last = model.graph.output[0]
    last.name = "giant"
    model.graph.node.extend(
        [
            helper.make_node(
                "Resize", [model.graph.node[0].output[0], "", "factors"], ["big"],
                coordinate_transformation_mode="asymmetric", nearest_mode="floor",
            ),
            helper.make_node("ReduceMean", ["big"], ["giant"], axes=[2, 3], keepdims=0),
        ]
    )  # fmt: skip
    factors = np.array([1, 1, 1e4, 1e4], dtype=np.float32)
    model.graph.initializer.append(numpy_helper.from_array(factors, "factors"))


def impossible(model: ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 2**40


def grayscale(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1


def of_vectors(model: ModelProto) -> None:
    given = model.graph.output[0].name
    del model.graph.node[:], model.graph.initializer[:], model.graph.input[:], model.graph.output[:]
    model.graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 20]))
    model.graph.node.append(helper.make_node("Relu", ["x"], [given]))
    model.graph.output.append(
        helper.make_tensor_value_info(given, TensorProto.FLOAT, ["batch", 20])
    )


def two_inputs(model: ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))


def foreign(model: ModelProto) -> None:
    model.opset_import.add(domain="com.microsoft", version=1)
    model.graph.node[0].domain = "com.microsoft"


def unknown(model: ModelProto) -> None:
    relus = [node for node in model.graph.node if node.op_type == "Relu"]
    relus[0].op_type, relus[1].op_type = "Softplus", "Softsign"


def old(model: ModelProto) -> None:
    model.opset_import[0].version = 9


def of_the_future(model: ModelProto) -> None:
    model.opset_import[0].version = 999


HOSTILE: dict[Callable[[ModelProto], None], str] = {
    outside: "keeps the values of '.*' in another file",
    outside_in_an_attribute: "in another file",
    cycle: "breaks the rules",
    loop: "",
    giant: "would be .* numbers for one image, the limit is",
    impossible: "",
    grayscale: "",
    of_vectors: r"input 'x' must be .* \[N, 3, S, S\], it is float of shape \[\w+, 20\]",
    two_inputs: r"takes \['x', 'mask'\]",
    foreign: r"needs com\.microsoft\.Conv, of which only its own runtime knows",
    unknown: "needs Softplus, Softsign, for which there is no counterpart here; known are Abs,",
    old: "is of opset 9; export it with opset 11 or later",
    of_the_future: "is of opset 999, the newest known here is",
}


@pytest.mark.parametrize("change", HOSTILE)
def test_what_is_unsafe_or_unknown_is_refused(
    change: Callable[[ModelProto], None], file: Path
) -> None:
    with pytest.raises(OnnxError) as refusal:
        check_onnx(changed(file, change))
    refusal.match(HOSTILE[change] or "ONNX file")


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused(share: float, file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: max(2, int(share * len(content)))])
    with pytest.raises(OnnxError):
        check_onnx(file)


def test_a_file_that_disagrees_is_refused_with_the_difference(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONVERTERS, "Relu", CONVERTERS["Sigmoid"])
    with pytest.raises(OnnxError, match=r"differ by .* of the largest, the limit is 0\.0001"):
        check_onnx(file)
