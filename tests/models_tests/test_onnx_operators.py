"""ONNX operators: each that is known computes what onnxruntime does, at any number of images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper

from pareconv.models.errors import OnnxError
from pareconv.models.teachers.onnx_file.conversion import convert
from pareconv.models.teachers.onnx_file.reading import read_onnx
from pareconv.models.teachers.onnx_file.registry import CONVERTERS

Case = tuple[int, list[NodeProto], dict[str, Any]]

RANDOM = np.random.default_rng(0)


def floats(*shape: int, least: float = -1.0) -> "np.ndarray[Any, Any]":
    return RANDOM.uniform(least, 1, shape).astype(np.float32)


def op(kind: str, *inputs: str, out: Sequence[str] = ("y",), **attributes: Any) -> NodeProto:
    return helper.make_node(kind, ["x", *inputs], list(out), name=f"a {kind}", **attributes)


def case(
    kind: str, *inputs: str, opset: int = 17, given: dict[str, Any] | None = None, **attributes: Any
) -> Case:
    """One node; `given` are the constants that it reads."""
    return opset, [op(kind, *inputs, **attributes)], given or {}


SHUFFLE = [
    helper.make_node("Shape", ["x"], ["shape"]),
    helper.make_node("Gather", ["shape", "zero"], ["images"], axis=0),
    helper.make_node("Gather", ["shape", "one"], ["channels"], axis=0),
    helper.make_node("Cast", ["channels"], ["whole"], to=TensorProto.INT64),
    helper.make_node("Div", ["whole", "three"], ["per group"]),
    helper.make_node("Unsqueeze", ["images"], ["a"], axes=[0]),
    helper.make_node("Unsqueeze", ["per group"], ["b"], axes=[0]),
    helper.make_node("Concat", ["a", "threes", "b", "rest"], ["target"], axis=0),
    helper.make_node("Reshape", ["x", "target"], ["y"]),
]
TWO_PARTS = [
    op("Split", out=("p", "q"), axis=2),
    helper.make_node("Concat", ["q", "p"], ["y"], axis=2),
]
UNEVEN_PARTS = [
    op("Split", "sizes", out=("p", "q"), axis=3),
    helper.make_node("Concat", ["q", "p"], ["y"], axis=3),
]
SWISH = [op("Sigmoid", out=("gate",)), op("Mul", "gate")]
GIVEN_BATCH = {"w": floats(3, least=0.1), "b": floats(3), "m": floats(3), "v": floats(3, least=0.5)}
AXES = np.array([1, 2])
WHOLE = np.array([1, 1], dtype=np.int64)

CASES: dict[str, Case] = {
    "Conv": case("Conv", "w", "b", given={"w": floats(4, 3, 3, 3), "b": floats(4)}, pads=[1] * 4),
    "Conv, grouped, strided and dilated": case(
        "Conv", "w", given={"w": floats(6, 1, 3, 3)}, group=3, strides=[2, 1], dilations=[1, 2]
    ),
    "Conv, padded on one side": case(
        "Conv", "w", given={"w": floats(4, 3, 3, 3)}, pads=[0, 0, 1, 1], strides=[2, 2]
    ),
    "Conv, same": case("Conv", "w", given={"w": floats(4, 3, 4, 4)}, auto_pad="SAME_LOWER"),
    "BatchNormalization": case("BatchNormalization", *GIVEN_BATCH, given=GIVEN_BATCH, epsilon=1e-3),
    "LayerNormalization": case("LayerNormalization", "w", given={"w": floats(8)}, axis=-1),
    "MatMul": case("MatMul", "w", given={"w": floats(8, 5)}),
    "Gemm": (
        17,
        [op("Flatten", out=("f",)), helper.make_node("Gemm", ["f", "w", "b"], ["y"], alpha=0.5)],
        {"w": floats(192, 5), "b": floats(5)},
    ),
    "Gemm, transposed": (
        17,
        [op("Flatten", out=("f",)), helper.make_node("Gemm", ["f", "w"], ["y"], transB=1)],
        {"w": floats(5, 192)},
    ),
    "PRelu": case("PRelu", "w", given={"w": floats(3, 1, 1)}),
    "LRN": case("LRN", size=3, alpha=0.1),
    "Relu": case("Relu"),
    "LeakyRelu": case("LeakyRelu", alpha=0.2),
    "Elu": case("Elu", alpha=0.7),
    "Sigmoid": case("Sigmoid"),
    "Sigmoid, times its input": (17, SWISH, {}),
    "Tanh": case("Tanh"),
    "HardSwish": case("HardSwish"),
    "HardSigmoid": case("HardSigmoid", alpha=1 / 6, beta=0.5),
    "HardSigmoid, of other slope": case("HardSigmoid", alpha=0.2, beta=0.4),
    "Mish": case("Mish", opset=18),
    "Gelu": case("Gelu", opset=20, approximate="tanh"),
    "Swish": case("Swish", opset=24),
    "Clip": case("Clip", "low", "high", given={"low": np.float32(0), "high": np.float32(6)}),
    "Clip, from below": case("Clip", "low", given={"low": np.float32(-0.5)}),
    "Softmax": (17, [op("Softmax", out=("s",), axis=1), helper.make_node("Neg", ["s"], ["y"])], {}),
    "Dropout": case("Dropout", "ratio", given={"ratio": np.float32(0.3)}),
    "Add": case("Add", "w", given={"w": floats(3, 1, 1)}),
    "Add, of itself": case("Add", "x"),
    "Sub": case("Sub", "w", given={"w": floats(1, 3, 1, 1)}),
    "Mul": case("Mul", "w", given={"w": np.float32(0.5)}),
    "Div": case("Div", "w", given={"w": np.array([2.0], dtype=np.float32)}),
    "Pow": case("Pow", "w", given={"w": np.float32(2)}),
    "Sqrt": (17, [op("Abs", out=("a",)), helper.make_node("Sqrt", ["a"], ["y"])], {}),
    "Exp": case("Exp"),
    "Erf": case("Erf"),
    "Abs": case("Abs"),
    "Neg": case("Neg"),
    "MaxPool": case("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
    "MaxPool, rounded up": case("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "MaxPool, padded on one side": case("MaxPool", kernel_shape=[2, 2], pads=[0, 0, 1, 1]),
    "AveragePool": case("AveragePool", kernel_shape=[3, 3], pads=[1] * 4),
    "AveragePool, of padding too": case(
        "AveragePool", kernel_shape=[3, 3], pads=[0, 0, 1, 1], count_include_pad=1
    ),
    "GlobalAveragePool": case("GlobalAveragePool"),
    "GlobalMaxPool": case("GlobalMaxPool"),
    "ReduceMean": case("ReduceMean", axes=[2, 3]),
    "ReduceMean, of opset 18": case(
        "ReduceMean", "axes", opset=18, given={"axes": np.array([-1, -2])}, keepdims=0
    ),
    "ReduceSum": case("ReduceSum", "axes", given={"axes": np.array([1])}, keepdims=1),
    "Resize": case(
        "Resize", "", "factors", given={"factors": np.array([1, 1, 2, 2], dtype=np.float32)},
        mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric",
    ),
    "Resize, linear, to a size": case(
        "Resize", "", "", "size", given={"size": np.array([2, 3, 12, 10])}, mode="linear"
    ),
    "Pad": case("Pad", "pads", given={"pads": np.array([0, 0, 1, 2, 0, 0, 3, 0])}),
    "Pad, around channels": case("Pad", "pads", given={"pads": np.array([0, 1, 0, 0, 0, 2, 0, 0])}),
    "Pad, reflected, some axes": case(
        "Pad", "pads", "", "axes", opset=18,
        given={"pads": np.array([1, 2]), "axes": np.array([3])}, mode="reflect",
    ),
    "Reshape": case("Reshape", "to", given={"to": np.array([0, -1])}),
    "Flatten": case("Flatten"),
    "Transpose": case("Transpose", perm=[0, 2, 3, 1]),
    "Shape, Gather, Cast, Unsqueeze, Concat": (
        11,
        SHUFFLE,
        {"zero": np.int64(0), "one": np.int64(1), "three": np.int64(3), "threes": np.array([3]),
         "rest": np.array([8, 8])},
    ),
    "Split": (11, TWO_PARTS, {}),
    "Split, uneven": (17, UNEVEN_PARTS, {"sizes": np.array([3, 5])}),
    "Concat": case("Concat", "x", axis=1),
    "Slice": case(
        "Slice", "from", "to", "axes", "by",
        given={"from": WHOLE, "to": np.array([3, 2**62]), "axes": AXES, "by": 2 * WHOLE},
    ),
    "Slice, from the end": case(
        "Slice", "from", "to", "axes",
        given={"from": np.array([-3]), "to": np.array([-1]), "axes": np.array([-1])},
    ),
    "Gather, one channel": case("Gather", "place", given={"place": np.int64(1)}, axis=1),
    "Unsqueeze": case("Unsqueeze", "axes", given={"axes": np.array([1])}),
    "Squeeze": (
        17,
        [op("GlobalAveragePool", out=("p",)), helper.make_node("Squeeze", ["p", "axes"], ["y"])],
        {"axes": np.array([2, 3])},
    ),
    "Identity": case("Identity"),
    "Cast": case("Cast", to=TensorProto.FLOAT),
    "Constant": (
        17,
        [helper.make_node("Constant", [], ["c"], value_float=2.0), op("Mul", "c")],
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("images", [2, 3])
def test_it_computes_what_onnxruntime_does(name: str, images: int, tmp_path: Path) -> None:
    opset, nodes, given = CASES[name]
    path = write(tmp_path, opset, nodes, given, batch="images" if name != RESIZED else 2)
    network, _ = convert(read_onnx(path))
    x = floats(2 if name == RESIZED else images, 3, 8, 8)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x})
    with torch.no_grad():
        found = network(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


RESIZED = "Resize, linear, to a size"  # a size is of all dimensions, that of the images too


def test_every_operator_is_tried() -> None:
    tried = {node.op_type for _, nodes, _ in CASES.values() for node in nodes}
    assert tried == set(CONVERTERS)


REFUSED: dict[str, tuple[Case, str]] = {
    "a strided convolution of the same size": (
        case("Conv", "w", given={"w": floats(4, 3, 3, 3)}, auto_pad="SAME_UPPER", strides=[2, 2]),
        "auto_pad=SAME_UPPER with a stride",
    ),
    "weights that are computed": (
        (17, [op("Relu", out=("w",)), op("Conv", "w")], {}),
        "input 1 must be constant",
    ),
    "the places of a pool's largest": (
        (17, [op("MaxPool", out=("p", "places"), kernel_shape=[2, 2]),
              helper.make_node("Cast", ["places"], ["number"], to=TensorProto.FLOAT),
              helper.make_node("Add", ["p", "number"], ["y"])], {}),
        "its indices",
    ),
    "a slice that runs backwards": (
        case("Slice", "from", "to", "axes", "by",
             given={"from": -WHOLE, "to": -9 * WHOLE, "axes": np.array([2, 3]), "by": -WHOLE}),
        "runs backwards",
    ),
    "another interpolation": (
        case("Resize", "", "factors", given={"factors": np.array([1, 1, 2, 2], dtype=np.float32)},
             mode="linear", coordinate_transformation_mode="asymmetric"),
        "coordinate_transformation_mode='asymmetric'",
    ),
    "padding of the batch": (
        case("Pad", "pads", given={"pads": np.array([1, 0, 0, 0, 0, 0, 0, 0])}),
        "are not of an image batch's height and width",
    ),
    "weights of another shape than the images": (
        case("BatchNormalization", *GIVEN_BATCH, given=GIVEN_BATCH | {"m": floats(4)}),
        r"running_mean is \(4,\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_counterpart_is_refused_by_node_and_reason(name: str, tmp_path: Path) -> None:
    (opset, nodes, given), reason = REFUSED[name]
    with pytest.raises(OnnxError, match=reason):
        convert(read_onnx(write(tmp_path, opset, nodes, given)))


def write(
    folder: Path,
    opset: int,
    nodes: Sequence[NodeProto],
    given: dict[str, Any],
    *,
    batch: str | int = "images",
) -> Path:
    """A file of these nodes, from `x` [images, 3, 8, 8] to `y`."""
    graph = helper.make_graph(
        nodes,
        "a graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in given.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model_gen_version(
        graph, opset_imports=opsets, ir_version=8 if opset < 21 else 11
    )
    path = folder / "model.onnx"
    model = onnx.shape_inference.infer_shapes(model)
    shape = model.graph.output[0].type.tensor_type.shape  # which the format requires
    if not shape.dim:
        shape.dim.extend([onnx.TensorShapeProto.Dimension(dim_param=name) for name in "abcde"])
    onnx.save(model, path)
    return path
