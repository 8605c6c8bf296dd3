"""An ONNX file as a plain model: parsed without following what it names, checked, its constants
folded. Knows no torch.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, inliner
from onnxscript import optimizer

from pareconv.models.errors import OnnxError

OLDEST_OPSET = 11
MOST_NODES = 50_000

_SMALL = 1024  # numbers

_OWN_DOMAINS = ("", "ai.onnx")
_EXPORT_AGAIN = "export the network again, to one file of standard ONNX operators"


def is_onnx(path: Path) -> bool:
    """By content: a protobuf message that begins with the version of its own format."""
    with path.open("rb") as file:
        start = file.read(2)
    return len(start) == 2 and start[0] == 0x08 and 1 <= start[1] <= 0x20


def read_onnx(path: Path) -> ModelProto:
    """The model in `path`, every function in it inlined.

    Raises OnnxError for a file that is damaged, is not whole by itself, is older than opset 11 or
    newer than the installed onnx knows, or breaks the rules of the format, as a graph with a cycle
    does.
    """
    return checked(_parsed(path))


def checked(model: ModelProto) -> ModelProto:
    """The same model with its functions inlined; raises what `read_onnx` does."""
    opset = opset_of(model)
    if opset < OLDEST_OPSET:
        raise OnnxError(f"the ONNX file is of opset {opset}; export it with opset 11 or later")
    _refuse_external_data(model)
    try:
        if model.functions:
            model = inliner.inline_local_functions(model)
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        raise OnnxError(f"the ONNX file breaks the rules of its format: {_first(error)}") from error
    _refuse_foreign_nodes(model)
    return model


def folded(model: ModelProto) -> ModelProto:
    """The same model for any number of images, without nodes that no input reaches; the shapes that
    the file tells are numbers then. Raises OnnxError where it contradicts itself.
    """
    simple = ModelProto()
    simple.CopyFrom(model)
    del simple.graph.value_info[:]  # told for the number of images of its own input
    for value in (*simple.graph.input, *simple.graph.output):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "images"
    try:
        simple = onnx.shape_inference.infer_shapes(simple, data_prop=True)
        optimizer.fold_constants(simple, should_fold=_is_small_constant)
        optimizer.remove_unused_nodes(simple)
    except Exception as error:  # it infers shapes and runs nodes that anyone may have written
        raise OnnxError(f"the ONNX file contradicts itself: {_first(error)}") from error
    return simple


def _is_small_constant(node: ir.Node) -> bool | None:
    """Of these the optimizer keeps every one; None leaves a node to its own rules."""
    if node.op_type != "ConstantOfShape" or not node.inputs or node.inputs[0] is None:
        return None
    shape = node.inputs[0].const_value
    return True if shape is not None and math.prod(shape.numpy().tolist()) <= _SMALL else None


def tensors_of(graph: GraphProto) -> Iterator[TensorProto]:
    """Every tensor that a graph holds, those in attributes and in inner graphs too."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from _tensors_of_attribute(attribute)


def _tensors_of_attribute(attribute: AttributeProto) -> Iterator[TensorProto]:
    yield attribute.t
    yield from attribute.tensors
    for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
        yield from (sparse.values, sparse.indices)
    for inner in (attribute.g, *attribute.graphs):
        if inner.node or inner.initializer:
            yield from tensors_of(inner)


def _parsed(path: Path) -> ModelProto:
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except Exception as error:  # of the protobuf that onnx was built with
        raise OnnxError("the ONNX file is truncated or damaged; copy or upload it again") from error
    if not model.graph.node:
        raise OnnxError("the ONNX file holds no graph; copy or upload it again")
    if len(model.graph.node) > MOST_NODES:
        raise OnnxError(
            f"the ONNX file has {len(model.graph.node):,} nodes, the limit is {MOST_NODES:,}; "
            "simplify it first"
        )
    return model


def opset_of(model: ModelProto) -> int:
    versions = [each.version for each in model.opset_import if each.domain in _OWN_DOMAINS]
    newest = onnx.defs.onnx_opset_version()
    if not versions:
        raise OnnxError(f"the ONNX file names no opset; {_EXPORT_AGAIN}")
    if versions[0] > newest:
        raise OnnxError(
            f"the ONNX file is of opset {versions[0]}, the newest known here is {newest}; export "
            "it with that one"
        )
    return int(versions[0])


def _refuse_external_data(model: ModelProto) -> None:
    held = [*tensors_of(model.graph)]
    for function in model.functions:
        held += [
            t for node in function.node for a in node.attribute for t in _tensors_of_attribute(a)
        ]
    for tensor in held:
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise OnnxError(
                f"the ONNX file keeps the values of {tensor.name[:200]!r} in another file; "
                "save it as one file: torch.onnx.export(..., external_data=False), or onnx.save "
                "without save_as_external_data"
            )


def _refuse_foreign_nodes(model: ModelProto) -> None:
    foreign = sorted(
        {f"{n.domain}.{n.op_type}" for n in model.graph.node if n.domain not in _OWN_DOMAINS}
    )
    if foreign:
        raise OnnxError(
            f"the ONNX file needs {', '.join(foreign[:5])}, of which only its own runtime knows; "
            f"{_EXPORT_AGAIN}"
        )


def _first(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), repr(error))[:500]
