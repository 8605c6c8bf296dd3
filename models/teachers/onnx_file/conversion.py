"""From an ONNX model to a network: one pass over its nodes, each by the converter of its kind."""

from dataclasses import dataclass, field
from typing import Any

from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)
from torch import fx

from pareconv.models.errors import OnnxError
from pareconv.models.graph import canonical
from pareconv.models.teachers.onnx_file.biases import drop_zero_biases, merge_biases
from pareconv.models.teachers.onnx_file.building import Building, Call, Value
from pareconv.models.teachers.onnx_file.norms import restore_norms
from pareconv.models.teachers.onnx_file.reading import folded, opset_of
from pareconv.models.teachers.onnx_file.registry import CONVERTERS
from pareconv.models.teachers.onnx_file.shapes import to_tensor

MOST_NUMBERS = 2**27  # of one value for one image: half a gigabyte

_TO_CHANNELS_FIRST = [0, 3, 1, 2]


@dataclass(frozen=True)
class Ends:
    """What goes into the file's graph and comes out of it.

    It is made for images of `size` pixels a side and for `batch` of them, None where it takes any.
    Files of TensorFlow may take `channels_last` images [N, H, W, C]; the network takes
    [N, C, H, W] as all do. A `softmax` at the end is left off, as scores are what is distilled.
    """

    input: str
    output: str
    batch: int | None
    size: int | None
    channels_last: bool
    softmax: bool


def convert(model: ModelProto) -> tuple[fx.GraphModule, Ends]:
    """The network of a model that `read_onnx` gave, canonical and in eval mode.

    Raises OnnxError that names every operator, or the first node, that has no counterpart.
    """
    batch = _batch(model.graph)
    model = folded(model)
    _refuse_unknown(model.graph)
    ends = _ends(model.graph, batch)
    network = drop_zero_biases(merge_biases(_Walk(model, ends).network()))
    network = restore_norms(network)
    return canonical(network.eval()), ends


def _refuse_unknown(graph: GraphProto) -> None:
    unknown = sorted({node.op_type for node in graph.node} - CONVERTERS.keys())
    if unknown:
        raise OnnxError(
            f"the ONNX file needs {', '.join(unknown)}, for which there is no counterpart here; "
            f"known are {', '.join(sorted(CONVERTERS))}"
        )


def _batch(graph: GraphProto) -> int | None:
    """The number of images that the file is made for, where it is fixed."""
    for value in _inputs(graph):
        dims = value.type.tensor_type.shape.dim
        return int(dims[0].dim_value) or None if dims else None
    return None


def _inputs(graph: GraphProto) -> list[ValueInfoProto]:
    given = {each.name for each in graph.initializer}
    return [each for each in graph.input if each.name not in given]


def _kind(elem_type: int) -> str:
    return helper.tensor_dtype_to_string(elem_type).removeprefix("TensorProto.").lower()


def _ends(graph: GraphProto, batch: int | None) -> Ends:
    inputs = _inputs(graph)
    if len(inputs) != 1 or len(graph.output) != 1:
        raise OnnxError(
            "the ONNX file must take one image batch and give one tensor of class scores, it takes "
            f"{[each.name for each in inputs]} and gives {[each.name for each in graph.output]}"
        )
    (taken,) = inputs
    kind = taken.type.tensor_type
    dims = [int(each.dim_value) for each in kind.shape.dim]  # 0 where any will do
    if kind.elem_type != TensorProto.FLOAT or len(dims) != 4:
        raise OnnxError(
            f"the ONNX file's input {taken.name!r} must be 32-bit floats [N, 3, S, S], it is "
            f"{_kind(kind.elem_type)} of shape [{', '.join(str(each or 'any') for each in dims)}]"
        )
    readers = [node for node in graph.node if taken.name in node.input]
    channels_last = dims[3] == 3 and all(_is_to_channels_first(node) for node in readers)
    height, width, channels = (dims[1], dims[2], dims[3]) if channels_last else (*dims[2:], dims[1])
    if channels not in (0, 3) or height != width:
        raise OnnxError(
            f"the ONNX file's input {taken.name!r} must be square RGB images [N, 3, S, S], its "
            f"shape is {dims} (0: any)"
        )
    output = graph.output[0].name
    last = next((node for node in graph.node if output in node.output), None)
    softmax = last is not None and last.op_type == "Softmax"
    if softmax:
        assert last is not None
        output = last.input[0]
    return Ends(taken.name, output, batch, height or None, channels_last, softmax)


def _is_to_channels_first(node: NodeProto) -> bool:
    return node.op_type == "Transpose" and any(
        attribute.name == "perm" and list(attribute.ints) == _TO_CHANNELS_FIRST
        for attribute in node.attribute
    )


@dataclass
class _Walk:
    """Over the nodes in their order, which the checker found to be one of the data flow."""

    model: ModelProto
    ends: Ends
    values: dict[str, Value] = field(default_factory=dict)

    def network(self) -> fx.GraphModule:
        graph = self.model.graph
        building = Building(self.ends.batch, self.ends.size)
        self.values[self.ends.input] = building.graph.placeholder("images")
        for each in graph.initializer:
            self.values[each.name] = to_tensor(_array(each))
        for node in graph.node:
            self._visit(node, building)
            if self.ends.output in self.values:
                break
        result = self._result()
        _refuse_huge(building)
        building.graph.output(result)
        return fx.GraphModule(building.root, building.graph, "OnnxNetwork")

    def _visit(self, node: NodeProto, building: Building) -> None:
        if self.ends.channels_last and self.ends.input in node.input:
            self.values[node.output[0]] = self.values[self.ends.input]
            return
        call = self._call(node, building)
        try:
            found = CONVERTERS[node.op_type](call)
        except OnnxError:
            raise
        except Exception as error:  # whatever comes of attributes that anyone may have written
            raise call.refused(repr(error)[:300]) from error
        found = found if isinstance(found, tuple) else (found,)
        self.values |= dict(zip((name for name in node.output if name), found, strict=False))

    def _call(self, node: NodeProto, building: Building) -> Call:
        try:
            inputs = [self.values[name] if name else None for name in node.input]
        except KeyError as error:
            raise OnnxError(f"the node {node.name!r} needs {error}, which nothing gives") from error
        attributes = {
            each.name: _plain(helper.get_attribute_value(each)) for each in node.attribute
        }
        return Call(
            building=building,
            kind=node.op_type,
            name=node.name or node.output[0],
            inputs=inputs,
            input_names=[*node.input, *[""] * 5],
            attributes=attributes,
            opset=opset_of(self.model),
            outputs=len([name for name in node.output if name]),
        )

    def _result(self) -> fx.Node:
        result = self.values.get(self.ends.output)
        if not isinstance(result, fx.Node):
            raise OnnxError("the ONNX file's output does not depend on its input")
        return result


def _refuse_huge(building: Building) -> None:
    for node, numbers in building.results():
        if numbers > MOST_NUMBERS:
            raise OnnxError(
                f"the value {node.name[:200]!r} of the ONNX file would be {numbers:,} numbers for "
                f"one image, the limit is {MOST_NUMBERS:,}"
            )


def _array(tensor: TensorProto) -> Any:
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise OnnxError(
            f"the ONNX file's tensor {tensor.name[:200]!r} does not hold what its shape says: "
            f"{error}"
        ) from error


def _plain(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
