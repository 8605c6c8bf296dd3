"""Prediction: the front that a library promises at any budget, without a job. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pareconv.models.cost_table import Cost, CostTable, Quantity
from pareconv.models.plan import KEEP, Option
from pareconv.search.errors import InvalidSpec
from pareconv.search.solver import Prediction, Solver, predicted_front
from pareconv.storage.libraries import Entry


def predict(
    entries: Sequence[Entry], teacher: Cost, limits: Mapping[Quantity, float]
) -> list[Prediction]:
    """The predicted front within `limits`, dearest first, from a library's stored entries; empty
    where none of them is scored.

    Raises InvalidSpec for a limit below what its scored options reach.
    """
    changes: dict[str, dict[Option, Cost]] = {}
    scores: dict[str, dict[Option, float]] = {}
    for entry in entries:
        if entry.score is not None:
            option, change = Option.parse(entry.option), Cost(entry.flops, entry.params, entry.adds)
            changes.setdefault(entry.block, {KEEP: Cost()})[option] = change
            scores.setdefault(entry.block, {})[option] = entry.score
    if not scores:
        return []
    # Entries have no latency, which is of a device; the teacher's may be that of the first job.
    solver = Solver(CostTable(replace(teacher, latency_ms=None), changes), scores)
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
    return front
