"""Prediction: the front that a library promises at any budget, without a job. No torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from pareconv.models.cost_table import Cost, CostTable, Quantity
from pareconv.models.plan import KEEP, Option
from pareconv.search.errors import InvalidSpec
from pareconv.search.solver import Solver, predicted_front


def predict(
    entries: Sequence[Mapping[str, Any]],
    teacher: Mapping[str, int],
    limits: Mapping[Quantity, int],
) -> list[dict[str, Any]]:
    """The predicted front within `limits`, dearest first, from a library's stored entries.

    Raises InvalidSpec for a limit below what its scored options reach.
    """
    scored = [entry for entry in entries if entry["score"] is not None]
    changes: dict[str, dict[Option, Cost]] = {}
    scores: dict[str, dict[Option, float]] = {}
    for entry in scored:
        block, option = entry["block"], Option.parse(entry["option"])
        changes.setdefault(block, {KEEP: Cost()})[option] = Cost.from_json(entry)
        scores.setdefault(block, {})[option] = entry["score"]
    solver = Solver(CostTable(Cost.from_json(teacher), changes), scores)
    for quantity, limit in limits.items():
        least, _ = solver.reach(quantity)
        if limit < least:
            raise InvalidSpec(
                quantity, f"{limit:,} is below {least:,}, the least that this library reaches"
            )
    front = predicted_front(solver, limits, along=next(iter(limits), "flops"))
    if not front and limits:
        named = " and ".join(f"{limit:,} {name}" for name, limit in limits.items())
        raise InvalidSpec(
            next(iter(limits)), f"{named} cannot be reached together; raise one of them"
        )
    return [each.to_json() for each in front]
