"""What every plan costs, exactly, without building it.

Plain numbers that survive JSON; knows no torch.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from pareconv.models.errors import PlanError
from pareconv.models.plan import KEEP, Option, Plan

Quantity = Literal["flops", "params"]


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of a network, or of a part of one, for one image.

    `flops` are multiply-adds as fvcore counts them; `adds` are additions of adder layers, which
    fvcore does not count; a FLOPs budget limits their sum.
    """

    flops: int = 0
    params: int = 0
    adds: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.flops + other.flops, self.params + other.params, self.adds + other.adds)

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(self.flops - other.flops, self.params - other.params, self.adds - other.adds)

    def quantity(self, name: Quantity) -> int:
        """What a budget on `name` limits."""
        return self.params if name == "params" else self.flops + self.adds

    def to_json(self) -> dict[str, int]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, int]) -> Self:
        return cls(value["flops"], value["params"], value["adds"])


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

    def least(self, quantity: Quantity) -> int:
        """The least cost that any plan reaches."""
        return self.teacher.quantity(quantity) + sum(
            min(change.quantity(quantity) for change in options.values())
            for options in self.changes.values()
        )

    def greatest(self, quantity: Quantity) -> int:
        """The greatest cost that a plan which changes something reaches."""
        changes = [
            change.quantity(quantity)
            for options in self.changes.values()
            for option, change in options.items()
            if option != KEEP
        ]
        return self.teacher.quantity(quantity) + max(changes, default=0)

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
