"""What every plan costs, exactly, without building it.

Plain numbers that survive JSON; knows no torch.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self, get_args

from pareconv.models.errors import PlanError
from pareconv.models.plan import KEEP, Option, Plan

Counted = Literal["flops", "params"]  # the same on every device
Quantity = Literal[Counted, "latency_ms"]
Objective = Literal[Counted, "latency"]  # a quantity by the name that people use


def quantity_of(objective: Objective) -> Quantity:
    """What is measured of a cost that is traded for accuracy."""
    return "latency_ms" if objective == "latency" else objective


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of a network, or of a part of one, for one image.

    `flops` are multiply-adds as fvcore counts them; `adds` are additions of adder layers, which
    fvcore does not count; a FLOPs budget limits their sum. `latency_ms` is that on one device; None
    where it was not measured.
    """

    flops: int = 0
    params: int = 0
    adds: int = 0
    latency_ms: float | None = None

    def __add__(self, other: "Cost") -> "Cost":
        return self._combined(other, operator.add)

    def __sub__(self, other: "Cost") -> "Cost":
        return self._combined(other, operator.sub)

    def _combined(self, other: "Cost", by: Callable[[Any, Any], Any]) -> "Cost":
        is_measured = self.latency_ms is not None and other.latency_ms is not None
        return Cost(
            by(self.flops, other.flops),
            by(self.params, other.params),
            by(self.adds, other.adds),
            by(self.latency_ms, other.latency_ms) if is_measured else None,
        )

    @property
    def measured(self) -> tuple[Quantity, ...]:
        """The quantities that are known of it."""
        return ("flops", "params") if self.latency_ms is None else get_args(Quantity)

    def counted(self, name: Counted) -> int:
        """What a budget on `name` limits."""
        return self.params if name == "params" else self.flops + self.adds

    def quantity(self, name: Quantity) -> float:
        """The same of any quantity; ValueError for a latency that was not measured."""
        if name != "latency_ms":
            return self.counted(name)
        if self.latency_ms is None:
            raise ValueError("the latency was not measured")
        return self.latency_ms

    def is_at_most(self, other: "Cost") -> bool:
        """Whether it is above the other in no quantity that is known of both."""
        both = set(self.measured) & set(other.measured)
        return all(self.quantity(name) <= other.quantity(name) for name in both)

    def to_json(self) -> dict[str, float]:
        """A latency that was not measured is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(value["flops"], value["params"], value["adds"], value.get("latency_ms"))


@dataclass(frozen=True)
class CostTable:
    """The search space of one teacher: its cost, and per block the change each option makes to it.

    `changes[block][option]` is added to the teacher's cost; `keep` is always there and changes
    nothing. The sum over a plan equals fvcore's count on the rewritten network.
    """

    teacher: Cost
    changes: Mapping[str, Mapping[Option, Cost]]

    def cost(self, plan: Plan) -> Cost:
        """Cost of the teacher rebuilt by `plan`; PlanError for an unknown block or option."""
        total = self.teacher
        for block, option in plan.items():
            total += self.change(block, option)
        return total

    def change(self, block: str, option: Option) -> Cost:
        if block not in self.changes:
            raise PlanError(f"no block {block!r}; blocks: {', '.join(self.changes) or 'none'}")
        if option not in self.changes[block]:
            known = ", ".join(map(str, self.changes[block]))
            raise PlanError(f"block {block}: no option {option}; options: {known}")
        return self.changes[block][option]

    def least(self, quantity: Quantity) -> float:
        """The least cost that any plan reaches; ValueError for a latency that was not measured."""
        return self.teacher.quantity(quantity) + sum(
            min(change.quantity(quantity) for change in options.values())
            for options in self.changes.values()
        )

    def greatest(self, quantity: Quantity) -> float:
        """The greatest cost that a plan which changes something reaches."""
        changes = [
            change.quantity(quantity)
            for options in self.changes.values()
            for option, change in options.items()
            if option != KEEP
        ]
        return self.teacher.quantity(quantity) + max(changes, default=0)

    def with_latencies(
        self, teacher_ms: float, changes_ms: Mapping[str, Mapping[Option, float]]
    ) -> Self:
        """The same with the latency of the teacher and what every option but `keep` changes."""
        return replace(
            self,
            teacher=replace(self.teacher, latency_ms=teacher_ms),
            changes={
                block: {
                    option: replace(
                        change, latency_ms=0.0 if option == KEEP else changes_ms[block][option]
                    )
                    for option, change in options.items()
                }
                for block, options in self.changes.items()
            },
        )

    def to_json(self) -> dict[str, Any]:
        """Lists rather than maps: the order of blocks and options is part of a study's search
        space.
        """
        return {
            "teacher": self.teacher.to_json(),
            "blocks": [
                {
                    "name": block,
                    "options": [
                        {"option": str(option)} | change.to_json()
                        for option, change in options.items()
                    ],
                }
                for block, options in self.changes.items()
            ],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(
            teacher=Cost.from_json(value["teacher"]),
            changes={
                block["name"]: {
                    Option.parse(choice["option"]): Cost.from_json(choice)
                    for choice in block["options"]
                }
                for block in value["blocks"]
            },
        )
