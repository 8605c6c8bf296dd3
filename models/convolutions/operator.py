"""The contract of an operator: what it is called, what it may be told, and how it rebuilds a block.

Those that rebuild each convolution on its own are `CheapConv`s (base.py); those that need to see
the whole block are `BlockOperator`s (whole_block.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from typing import Any, ClassVar

import torch
from torch import Tensor, fx, nn

from pareconv.models.blocks import Block
from pareconv.models.cost_table import Cost
from pareconv.models.plan import HyperValue, Option

Shapes = Mapping[str, torch.Size]  # of the values of a network's nodes, for one image


@dataclass(frozen=True, slots=True)
class Hyper:
    """One hyper-parameter of an operator: a ratio or count that means the same at every width.

    `grid` holds the values that a search tries unless told otherwise. One with a `default` need not
    be given.
    """

    name: str
    low: HyperValue
    high: HyperValue
    grid: tuple[HyperValue, ...]
    description: str
    default: HyperValue | None = None

    def refusal(self, value: HyperValue) -> str | None:
        if isinstance(self.low, int) and not isinstance(value, int):
            return f"{self.name}={value} is not a whole number"
        if not self.low <= value <= self.high:
            return f"{self.name}={value} is outside {self.low} to {self.high}"
        return None


@dataclass(frozen=True)
class Rebuilt:
    """What is made of a block: modules in the place of those of the same name, and nodes of the
    graph that pass on the value of another node instead of their own.
    """

    modules: Mapping[str, nn.Module] = field(default_factory=dict)
    bypassed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def together(cls, parts: Iterable["Rebuilt"]) -> "Rebuilt":
        """One that does what all of the parts do."""
        modules: dict[str, nn.Module] = {}
        bypassed: dict[str, str] = {}
        for part in parts:
            modules |= part.modules
            bypassed |= part.bypassed
        return cls(modules, bypassed)

    def apply(self, network: fx.GraphModule) -> None:
        """Change a network that holds the block, the teacher's whole graph or the block alone.

        The nodes keep their names; what nothing uses any more is deleted.
        """
        for name, module in self.modules.items():
            network.set_submodule(name, module)
        if self.bypassed:
            nodes = {node.name: node for node in network.graph.nodes}
            for name, source in self.bypassed.items():
                node = nodes[name]
                node.op, node.target = "call_function", passed_on
                node.args, node.kwargs = (nodes[source],), {}
            network.graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
            network.delete_all_unused_submodules()
            network.recompile()


def passed_on(value: Tensor) -> Tensor:
    """What a bypassed node computes; it is in no export."""
    return value


@dataclass(frozen=True, eq=False)
class Step:
    """A part of rebuilding a block, made from the value of the node `at` where a sample is given,
    and from the weights alone where none is.
    """

    at: str
    make: Callable[[Tensor | None], Rebuilt]


class Operator(ABC):
    """One way to rebuild a block so that it costs less: same input, same output shape."""

    name: ClassVar[str]
    summary: ClassVar[str]
    formula: ClassVar[str]  # what it computes
    cost: ClassVar[str]  # parameters without biases, and multiply-adds
    source: ClassVar[str]
    when: ClassVar[str]  # to use it
    version: ClassVar[int] = 1  # raised when the same weights would no longer mean the same
    hyper: ClassVar[tuple[Hyper, ...]] = ()
    # FLOPs and parameters: where it would not, it is refused. One that never does is not in `auto`.
    saves: ClassVar[bool] = True

    @classmethod
    def options(cls) -> Iterator[Option]:
        """Every combination of the hyper-parameters' grids, defaults left unsaid."""
        for values in product(*(hyper.grid for hyper in cls.hyper)):
            chosen = zip(cls.hyper, values, strict=True)
            said = {hyper.name: value for hyper, value in chosen if value != hyper.default}
            yield Option.of(cls.name, **said)

    @classmethod
    @abstractmethod
    def refusals(cls, network: fx.GraphModule, block: Block, **hyper: HyperValue) -> dict[str, str]:
        """Convolution name -> why it stays as it is, for those of `block` that do.

        A block all of whose convolutions stay is refused.
        """

    @classmethod
    @abstractmethod
    def steps(cls, network: fx.GraphModule, block: Block, **hyper: HyperValue) -> Sequence[Step]:
        """How `block` is rebuilt; together they give what is to be applied."""

    @classmethod
    @abstractmethod
    def change(
        cls, network: fx.GraphModule, block: Block, shapes: Shapes, **hyper: HyperValue
    ) -> Cost:
        """What rebuilding `block` adds to the cost of `network` for one image."""

    @classmethod
    def describe(cls) -> dict[str, Any]:
        """What `GET /operators` shows of it."""
        return {
            "name": cls.name,
            "summary": cls.summary,
            "formula": cls.formula,
            "cost": cls.cost,
            "source": cls.source,
            "when": cls.when,
            "hyper": [asdict(hyper) for hyper in cls.hyper],
        }

    @classmethod
    def _refuse_hyper(cls, hyper: dict[str, HyperValue]) -> str | None:
        known = {each.name: each for each in cls.hyper}
        missing = [name for name in known if name not in hyper and known[name].default is None]
        if missing or not hyper.keys() <= known.keys():
            wanted = ", ".join(known) or "none"
            return f"takes the hyper-parameters {wanted}, got {', '.join(hyper) or 'none'}"
        said = [name for name, value in hyper.items() if value == known[name].default]
        if said:
            return f"{said[0]}={hyper[said[0]]} is the default; leave it out"
        reasons = (known[name].refusal(value) for name, value in hyper.items())
        return next(filter(None, reasons), None)
