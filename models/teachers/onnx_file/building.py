"""A graph being built from ONNX nodes: its values, and what an operator's converter may ask for.

A value is a node of the torch graph, a constant tensor, or, where a shape is known in parts, a list
of numbers and nodes: shape arithmetic never becomes tensor arithmetic.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from pareconv.models.errors import OnnxError

_ANY_SIZE = 224  # pixels, for a file that does not say

Size = int | fx.Node
Sizes = list[Size]
Value = fx.Node | Tensor | Sizes


class Building:
    """The torch graph so far. Modules are named as their weights were."""

    def __init__(self, batch: int | None, size: int | None) -> None:
        """`batch` is the number of images that the file is made for, `size` their side in pixels;
        None where it takes any.
        """
        self.batch = batch
        self.root = nn.Module()
        self.graph = fx.Graph()
        side, number = size or _ANY_SIZE, batch or 1
        # Run on both, a dimension that is the same is the same for any images.
        self._runs = (
            _Run(self.root, (number, 3, side, side)),
            _Run(self.root, (number + 1, 3, *[side if size else 2 * side] * 2)),
        )
        self._layers: dict[tuple[Any, ...], str] = {}

    def module(self, name: str, module: nn.Module, x: fx.Node) -> fx.Node:
        """A call of `module`, which becomes a part of the network under that name or one like it. A
        name that is no path has its place beside the layer before.
        """
        if "." not in name and (beside := self._folder_of(x)):
            name = f"{beside}.{name}"
        return self.graph.call_module(self._added(name, module), (x,))

    def layer(
        self, name: str, identity: tuple[Any, ...], make: Callable[[], nn.Module], x: fx.Node
    ) -> fx.Node:
        """A call of a layer; the same layer again where `identity`, its weights and attributes,
        came before.
        """
        if identity not in self._layers:
            self._layers[identity] = self._added(name, make())
        return self.graph.call_module(self._layers[identity], (x,))

    def parameter(self, name: str, value: Tensor) -> fx.Node:
        """A tensor that is trained along."""
        name = self._free(_plain(name).replace(".", "_"))
        self.root.register_parameter(name, nn.Parameter(value.clone()))
        return self.graph.get_attr(name)

    def results(self) -> Iterator[tuple[fx.Node, int]]:
        """Every value of the graph that is a tensor, and how many numbers it is for one image."""
        run, _ = self._runs
        for node in self.graph.nodes:
            if node.op != "output" and isinstance(value := run.value(node), Tensor):
                yield node, value.numel() // run.images[0]

    def function(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        return self.graph.call_function(target, args, kwargs)

    def shape(self, x: fx.Node) -> Sizes:
        """The dimensions of a value: numbers, and nodes where the images decide."""
        one, other = (run.value(x).shape for run in self._runs)
        return [
            int(first) if first == second else self.graph.call_method("size", (x, place))
            for place, (first, second) in enumerate(zip(one, other, strict=True))
        ]

    def _folder_of(self, x: fx.Node) -> str:
        """Where the last layer on the way to `x` is, by its first inputs."""
        while x.op != "call_module" and x.all_input_nodes:
            x = x.all_input_nodes[0]
        return str(x.target).rpartition(".")[0] if x.op == "call_module" else ""

    def _added(self, name: str, module: nn.Module) -> str:
        name = self._free(_plain(name))
        owner = self.root
        *folders, last = name.split(".")
        for folder in folders:
            if not hasattr(owner, folder):
                owner.add_module(folder, nn.Module())
            owner = owner.get_submodule(folder)
        owner.add_module(last, module)
        return name

    def _free(self, name: str) -> str:
        """`name`, or one like it where a layer is called so, or so begins the name of one."""
        folder, _, last = name.rpartition(".")
        while folder and not self._is_folder(folder):
            folder, _, before = folder.rpartition(".")
            last = f"{before}_{last}"
        names = (f"{last}_{number}" if number > 1 else last for number in itertools.count(1))
        paths = (f"{folder}.{each}" if folder else each for each in names)
        return next(path for path in paths if not self._is_taken(path))

    def _is_folder(self, path: str) -> bool:
        """Whether layers may be in it: there is nothing yet, or no layer."""
        return all(type(each) is nn.Module for each in self._along(path))

    def _is_taken(self, path: str) -> bool:
        return len(self._along(path)) == path.count(".") + 1

    def _along(self, path: str) -> list[Any]:
        """What there is on the way, as far as it leads."""
        found: list[Any] = [self.root]
        for part in path.split("."):
            if not hasattr(found[-1], part):
                break
            found.append(getattr(found[-1], part))
        return found[1:]


class _Run:
    """The values of a graph for images of one shape, of which nothing but shapes is computed."""

    def __init__(self, root: nn.Module, images: tuple[int, ...]) -> None:
        self._root, self.images = root, images
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        self._values: dict[fx.Node, Any] = {}

    def value(self, node: fx.Node) -> Any:
        with self._mode, torch.no_grad():
            for each in node.graph.nodes:  # in their order: what a node needs is there
                if each not in self._values:
                    self._values[each] = self._tried(each)
        return self._values[node]

    def _tried(self, node: fx.Node) -> Any:
        try:
            return self._computed(node)
        except Exception as error:  # whatever torch says of shapes that anyone may have written
            raise OnnxError(
                f"the value {node.name[:200]!r} of the ONNX file cannot be computed for images of "
                f"{self.images[-1]} pixels: {str(error)[:300]}"
            ) from error

    def _computed(self, node: fx.Node) -> Any:
        args, kwargs = fx.map_arg((node.args, node.kwargs), self._values.__getitem__)
        match node.op:
            case "placeholder":
                return torch.empty(self.images)
            case "get_attr":
                return getattr(self._root, str(node.target))
            case "call_module":
                return self._root.get_submodule(str(node.target))(*args, **kwargs)
            case "call_method":
                return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        assert callable(node.target)
        return node.target(*args, **kwargs)


@dataclass(frozen=True)
class Call:
    """One ONNX node to be converted: its inputs as values, None where left out."""

    building: Building
    kind: str
    name: str
    inputs: Sequence[Value | None]
    input_names: Sequence[str]
    attributes: dict[str, Any]
    opset: int
    outputs: int

    def tensor(self, index: int = 0) -> fx.Node:
        """An input as a node of the graph; a constant becomes a parameter."""
        value = self._given(index)
        if isinstance(value, fx.Node):
            return value
        if isinstance(value, Tensor) and value.is_floating_point():
            return self.building.parameter(self.input_names[index], value)
        raise self.refused(f"its input {index} must be a tensor of floats")

    def constant(self, index: int) -> Tensor:
        """An input that the file fixes."""
        value = self._given(index)
        if isinstance(value, list) and all(isinstance(each, int) for each in value):
            return torch.tensor(value)
        if not isinstance(value, Tensor):
            raise self.refused(f"its input {index} must be constant")
        return value

    def sizes(self, index: int) -> Sizes:
        """An input that is a list of whole numbers, some of which may only be known in a run."""
        value = self._given(index)
        if isinstance(value, fx.Node):
            raise self.refused(f"its input {index} depends on the images")
        return list(value) if isinstance(value, list) else [int(n) for n in value.flatten()]

    def numbers(self, attribute: str, index: int) -> list[int] | None:
        """Whole numbers that older opsets keep in an attribute and newer ones in an input."""
        if attribute in self.attributes:
            return [int(each) for each in self.attributes[attribute]]
        if not self.has(index):
            return None
        return [int(each) for each in self.constant(index).flatten()]

    def number(self, attribute: str, index: int) -> float | None:
        """One number, from an attribute or an input."""
        if attribute in self.attributes:
            return float(self.attributes[attribute])
        return float(self.constant(index)) if self.has(index) else None

    def has(self, index: int) -> bool:
        return len(self.inputs) > index and self.inputs[index] is not None

    def require(self, **expected: Any) -> None:
        """Refuse attributes of other values than these, where they are set."""
        for name, value in expected.items():
            if self.attributes.get(name, value) != value:
                raise self.refused(f"{name}={self.attributes[name]!r} is not supported")

    def refused(self, reason: str) -> OnnxError:
        return OnnxError(
            f"the node {self.name[:200]!r} ({self.kind}) cannot be converted: {reason}"
        )

    def _given(self, index: int) -> Value:
        value = self.inputs[index] if len(self.inputs) > index else None
        if value is None:
            raise self.refused(f"its input {index} is missing")
        return value


# A tuple is of one value for each output.
Converter = Callable[[Call], Value | tuple[Value, ...]]


def layer_name(weights: str, node: str, kind: str) -> str:
    """A layer is called as its weights are, `layer1.0.conv1.weight`; where an exporter renamed
    those, as its node, `/layer1/layer1.0/conv1/Conv`; and else by its kind.
    """
    path, _, last = weights.rpartition(".")
    if path and last == "weight":
        return path
    return _scope(node) or kind.lower()


def stateless_name(node: str, kind: str) -> str:
    """A layer without weights is called by its kind, where its node is."""
    scope = _scope(node)
    if not scope:
        return node or kind.lower()
    return scope if scope.rpartition(".")[2].lower() == kind.lower() else f"{scope}.{kind.lower()}"


def _scope(node: str) -> str:
    """Of a node of torch's older exporter, the path of the module that it is in."""
    if "/" not in node:
        return ""
    *scopes, _ = [part for part in node.split("/") if part] or [""]
    return _joined(scopes)


def _joined(scopes: Sequence[str]) -> str:
    """torch's scopes as one path: each is relative to the one before, or begins with its name."""
    path: list[str] = []
    before = ""
    for scope in scopes:
        path.append(scope.removeprefix(f"{before}.") if before else scope)
        before = scope
    return ".".join(path)


def _plain(name: str) -> str:
    """As a path of attributes may be: every other character is an underscore."""
    parts = ("".join(c if c.isalnum() else "_" for c in part) for part in name.split("."))
    return ".".join(part for part in parts if part) or "layer"
