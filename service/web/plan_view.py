"""A plan block by block, and as a drawing: the teacher above, the student below. Reads no store."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pareconv.models.cost_table import Cost, CostTable, Quantity
from pareconv.models.plan import KEEP, Plan
from pareconv.service.web.figures import operator_of
from pareconv.storage.libraries import Entry

WIDTH = 1000.0
_GAP = 3.0


@dataclass(frozen=True, slots=True)
class BlockView:
    """A block of the teacher and what becomes of it. Costs are of the chosen quantity.

    `before` is None for a job of an older version, which did not keep it; `score` is the library's.
    """

    index: int
    name: str
    convs: tuple[str, ...]
    option: str
    before: float | None
    saved: float
    score: float | None
    score_stderr: float | None

    @property
    def operator(self) -> str:
        return operator_of(self.option)

    @property
    def after(self) -> float | None:
        return None if self.before is None else self.before - self.saved


@dataclass(frozen=True, slots=True)
class Box:
    """A block in the drawing: left edge and width, in the teacher's row and in the student's."""

    block: BlockView | None  # None: all layers in no block
    x: float
    width: float
    student_x: float
    student_width: float

    @property
    def between(self) -> str:
        """The corners of what connects the two, for an SVG polygon at the heights that it has."""
        return (
            f"{self.x:.1f},62 {self.x + self.width:.1f},62 "
            f"{self.student_x + self.student_width:.1f},88 {self.student_x:.1f},88"
        )


@dataclass(frozen=True, slots=True)
class PlanView:
    """`whole` and `left` are what teacher and student cost, `rest` that of what is in no block."""

    blocks: tuple[BlockView, ...]
    whole: float
    left: float
    rest: float
    boxes: tuple[Box, ...]

    @property
    def operators(self) -> list[str]:
        return sorted({block.operator for block in self.blocks})


def plan_view(
    profile: Mapping[str, Any],
    plan: Mapping[str, str],
    entries: Iterable[Entry],
    quantity: Quantity,
) -> PlanView:
    """How `plan` rebuilds the teacher of `profile`, in the order of the network."""
    table, chosen = CostTable.from_json(profile["table"]), Plan.from_json(plan)
    scores = {(each.block, each.option): each for each in entries}
    costs = {each["name"]: each.get("cost") for each in profile["blocks"]}
    convs = {each["name"]: tuple(each["convs"]) for each in profile["blocks"]}
    blocks = []
    for index, name in enumerate(table.changes, 1):
        option = chosen.get(name, KEEP)
        entry = scores.get((name, str(option)))
        before = costs.get(name)
        blocks.append(
            BlockView(
                index=index,
                name=name,
                convs=convs.get(name, ()),
                option=str(option),
                before=None if before is None else Cost.from_json(before).quantity(quantity),
                saved=-table.change(name, option).quantity(quantity),
                score=None if entry is None else entry.score,
                score_stderr=None if entry is None else entry.score_stderr,
            )
        )
    whole = table.teacher.quantity(quantity)
    left = whole - sum(block.saved for block in blocks)
    rest = max(0.0, whole - sum(block.before or 0.0 for block in blocks))
    return PlanView(tuple(blocks), whole, left, rest, tuple(_boxes(blocks, whole, rest)))


def _boxes(blocks: list[BlockView], whole: float, rest: float) -> Iterable[Box]:
    if any(block.before is None for block in blocks) or not whole:
        return
    scale = (WIDTH - _GAP * len(blocks)) / whole
    x = student_x = 0.0
    for block in [*blocks, None]:
        before = rest if block is None else block.before or 0.0
        after = rest if block is None else max(0.0, block.after or 0.0)
        yield Box(block, x, before * scale, student_x, after * scale)
        x += before * scale + _GAP
        student_x += after * scale + _GAP
