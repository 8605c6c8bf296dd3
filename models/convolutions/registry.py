"""Every operator by name: one dict, filled by one list."""

from collections.abc import Sequence
from difflib import get_close_matches

from pareconv.models.convolutions.adder import Adder
from pareconv.models.convolutions.bottleneck import Bottleneck
from pareconv.models.convolutions.bsconv import BSConv
from pareconv.models.convolutions.depthwise import Depthwise
from pareconv.models.convolutions.drop import Drop
from pareconv.models.convolutions.ghost import Ghost
from pareconv.models.convolutions.group import Group
from pareconv.models.convolutions.group_pointwise import GroupPointwise
from pareconv.models.convolutions.hetconv import HetConv
from pareconv.models.convolutions.inverted import Inverted
from pareconv.models.convolutions.operator import Operator
from pareconv.models.convolutions.partial import Partial
from pareconv.models.convolutions.pointwise import Pointwise
from pareconv.models.convolutions.shift import Shift
from pareconv.models.convolutions.shuffle_group import ShuffleGroup
from pareconv.models.convolutions.slim import Slim
from pareconv.models.convolutions.svd import SpatialSVD
from pareconv.models.convolutions.tucker import Tucker
from pareconv.models.errors import PlanError
from pareconv.models.plan import Option


def registered(*operators: type[Operator]) -> dict[str, type[Operator]]:
    """Name -> operator; ValueError if two claim one name."""
    named: dict[str, type[Operator]] = {}
    for operator in operators:
        if operator.name in named:
            raise ValueError(f"two operators are named {operator.name!r}")
        named[operator.name] = operator
    return named


# Those first that `auto` prefers where many cost the same: by how close they start to what they
# replace, at equal cost (docs/operators.md).
OPERATORS = registered(
    Drop, Slim, SpatialSVD, GroupPointwise, Depthwise, Partial, Tucker, Inverted, HetConv,
    Pointwise, BSConv, Shift, ShuffleGroup, Group, Ghost, Bottleneck, Adder,
)  # fmt: skip

SAVING = [name for name, found in OPERATORS.items() if found.saves]


def operator(name: str) -> type[Operator]:
    """The operator of that name; PlanError lists the known ones."""
    if name not in OPERATORS:
        near = get_close_matches(name, OPERATORS, 1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise PlanError(f"unknown operator {name!r}; {meant}known: {', '.join(sorted(OPERATORS))}")
    return OPERATORS[name]


def options(names: Sequence[str]) -> list[Option]:
    """Every option of the named operators, over the grids of their hyper-parameters."""
    return [option for name in names for option in operator(name).options()]
