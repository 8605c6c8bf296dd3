"""Every operator by name: one dict, filled by one list."""

from collections.abc import Sequence

from torch import nn

from pareconv.models.convolutions.base import CheapConv
from pareconv.models.convolutions.bottleneck import Bottleneck
from pareconv.models.convolutions.depthwise import Depthwise
from pareconv.models.convolutions.ghost import Ghost
from pareconv.models.convolutions.group_pointwise import GroupPointwise
from pareconv.models.convolutions.hetconv import HetConv
from pareconv.models.convolutions.pointwise import Pointwise
from pareconv.models.convolutions.shift import Shift
from pareconv.models.convolutions.svd import SpatialSVD
from pareconv.models.errors import PlanError
from pareconv.models.plan import Option


def registered(*operators: type[CheapConv]) -> dict[str, type[CheapConv]]:
    """Name -> operator; ValueError if two claim one name."""
    named: dict[str, type[CheapConv]] = {}
    for operator in operators:
        if operator.name in named:
            raise ValueError(f"two operators are named {operator.name!r}")
        named[operator.name] = operator
    return named


OPERATORS = registered(
    Bottleneck, Depthwise, Ghost, GroupPointwise, HetConv, Pointwise, Shift, SpatialSVD
)


def operator(name: str) -> type[CheapConv]:
    """The operator of that name; PlanError lists the known ones."""
    if name not in OPERATORS:
        raise PlanError(f"unknown operator {name!r}; known: {', '.join(sorted(OPERATORS))}")
    return OPERATORS[name]


def refusal(conv: nn.Conv2d, option: Option) -> str | None:
    """Why `option` cannot replace `conv`; None if it can."""
    return operator(option.operator).refusal(conv, **option.kwargs)


def options(names: Sequence[str]) -> list[Option]:
    """Every option of the named operators, over the grids of their hyper-parameters."""
    return [option for name in names for option in operator(name).options()]
