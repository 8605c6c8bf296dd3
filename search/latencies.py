"""Latencies of a job's space: found in a table, or measured where it has none."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self, cast

from torch import fx

from pareconv.models.bundling import write_bundle
from pareconv.models.latency import Conditions, Part, measure, parts
from pareconv.models.plan import KEEP, Option
from pareconv.models.space import Space
from pareconv.models.timing import Measured
from pareconv.search.errors import InvalidSpec
from pareconv.search.references import References
from pareconv.search.spec import JobSpec
from pareconv.storage.latencies import LatencySubject


@dataclass(frozen=True)
class Known:
    """What was measured before under the conditions of a job, by the keys of the parts."""

    conditions: Conditions
    subject: LatencySubject
    by_key: dict[str, Measured]
    is_elsewhere: bool  # in a table that somebody brought: nothing can be added here

    @classmethod
    def of(cls, spec: JobSpec, references: References, device: str) -> Self | None:
        """None for a job whose latency counts nowhere; InvalidSpec for a table that is not there or
        was measured under other conditions.
        """
        asked = spec.latency
        if asked is None:
            return None
        conditions = Conditions(asked.runtime, asked.batch, asked.threads, device)
        if asked.table is None:
            subject = cast("LatencySubject", conditions.subject)
            stored = references.latencies(subject)
        else:
            subject, stored = references.latency_table(asked.table)
            for name, value in subject.items():
                if value != getattr(asked, name, value):
                    raise InvalidSpec(
                        f"budget.latency.{name}",
                        f"{getattr(asked, name)} is not what {asked.table} was measured with, "
                        f"{value}; give that, or measure another table",
                    )
        found = {each["key"]: Measured(**each) for each in stored}
        return cls(conditions, subject, found, asked.table is not None)


@dataclass(frozen=True)
class Timed:
    """A space with latencies, and which of them were measured for it."""

    space: Space
    new: list[dict[str, Any]]


def timed(
    space: Space, network: fx.GraphModule, shape: tuple[int, int, int, int], known: Known
) -> Timed:
    """The space with the latency of all its options; what is not known is measured.

    Raises InvalidSpec where a table from elsewhere lacks some.
    """
    wanted = _parts(space, network, shape, known.conditions)
    missing = [part for part in wanted if part.key not in known.by_key]
    if missing and known.is_elsewhere:
        raise InvalidSpec(
            "budget.latency.table",
            f"it lacks {len(missing)} of {len(wanted)} parts, the first {missing[0].option} for an "
            f"input of {missing[0].shape}; export a bundle of this teacher, run `pareconv measure` "
            "on the device and upload what it brings",
        )
    new = list(measure(network, shape, missing, known.conditions))
    by_key = known.by_key | {each.key: each for each in new}
    return Timed(_with_latencies(space, wanted, by_key), [asdict(each) for each in new])


def bundle(
    spec: JobSpec,
    space: Space,
    network: fx.GraphModule,
    shape: tuple[int, int, int, int],
    path: Path,
) -> int:
    """Write all that has to be timed for the job to `path`; how many parts that is.

    Raises InvalidSpec where no latency is asked for, or one of a runtime that runs no files.
    """
    asked = spec.latency
    if asked is None or asked.runtime != "onnxruntime":
        raise InvalidSpec(
            "budget.latency.runtime",
            "a bundle is of ONNX files: give a latency whose runtime is onnxruntime",
        )
    conditions = Conditions(asked.runtime, asked.batch, asked.threads)
    wanted = _parts(space, network, shape, conditions)
    write_bundle(path, network, shape, wanted, conditions)
    return len({part.key for part in wanted})


def timed_if_known(
    space: Space, network: fx.GraphModule, shape: tuple[int, int, int, int], known: Known
) -> Space:
    """The space as it is where something would have to be measured."""
    wanted = _parts(space, network, shape, known.conditions)
    is_known = all(part.key in known.by_key for part in wanted)
    return _with_latencies(space, wanted, known.by_key) if is_known else space


def _parts(
    space: Space,
    network: fx.GraphModule,
    shape: tuple[int, int, int, int],
    conditions: Conditions,
) -> list[Part]:
    wanted = {
        block: [option for option in space.table.changes[block.name] if option != KEEP]
        for block in space.blocks
    }
    return parts(network, shape, wanted, conditions)


def _with_latencies(space: Space, wanted: Iterable[Part], by_key: dict[str, Measured]) -> Space:
    teacher_ms = 0.0
    changes: dict[str, dict[Option, float]] = {}
    for part in wanted:
        measured = by_key[part.key]
        if part.block is None:
            teacher_ms = measured.ms
        else:
            changes.setdefault(part.block.name, {})[part.option] = measured.change_ms
    return replace(space, table=space.table.with_latencies(teacher_ms, changes))
