"""Inspection: everything about a job that can be told without training or decoding its images.

`POST /inspect` answers with it, submission is refused by it, and the profile stage begins with it.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import fx

from pareconv.models.convolutions.registry import operator
from pareconv.models.cost import flops_by_operator
from pareconv.models.cost_table import Cost, Counted, Quantity
from pareconv.models.plan import KEEP, Option, Plan
from pareconv.models.space import Scope, Space, find_space, planned_space
from pareconv.models.teachers.architecture import Architecture
from pareconv.search.assumptions import Assumption, assumptions
from pareconv.search.budget import limit_of, milliseconds_of
from pareconv.search.contents import Contents, contents
from pareconv.search.data.imbalance import long_tail
from pareconv.search.distillation.registry import BRIEF, method
from pareconv.search.errors import InvalidSpec
from pareconv.search.latencies import Known, timed_if_known
from pareconv.search.references import References
from pareconv.search.resolving import device_of, needs_no_teacher
from pareconv.search.solver import Solver
from pareconv.search.spec import JobSpec, Preparation
from pareconv.search.teachers import (
    as_its_weights_want,
    blaming,
    build_teacher,
    teacher_architecture,
)

_COUNTED: tuple[Counted, ...] = ("flops", "params")
_FIELDS: dict[Quantity, str] = {
    "flops": "budget.flops",
    "params": "budget.params",
    "latency_ms": "budget.latency.ms",
}


@dataclass(frozen=True)
class Inspection:
    """A teacher on its data: the spec as the teacher's weights want it, the canonical network with
    the weights that there are, what it needs before it can teach, the space, the limits, and what
    the spec as it came left to be assumed.
    """

    spec: JobSpec
    assumed: list[Assumption]
    network: fx.GraphModule
    preparation: Preparation
    data: Contents
    space: Space
    limits: dict[Quantity, float | None]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return 1, 3, self.data.image_size, self.data.image_size

    def with_space(self, spec: JobSpec, space: Space) -> Self:
        """The same with another space or what is now known of it; InvalidSpec where the budget
        cannot be reached in it.
        """
        return replace(self, space=space, limits=_limits(spec, space))

    def to_json(self) -> dict[str, Any]:
        table = self.space.table
        return {
            "teacher": table.teacher.to_json()
            | {"preparation": self.preparation}
            | {"flops_by_operator": flops_by_operator(self.network, *self.shape)},
            "classes": list(self.data.classes),
            "images": {
                "train": self.data.train,
                "validation": self.data.validation,
                "held_out": self.data.held_out(self.spec.dataset.validation_fraction),
                "test": self.data.test,
            },
            "image_size": self.data.image_size,
            "blocks": [
                {
                    "name": block.name,
                    "convs": list(block.convs),
                    "options": self._options(block.name),
                }
                for block in self.space.blocks
            ],
            "left_out": [
                {"name": left.name, "reason": left.reason} for left in self.space.left_out
            ],
            "budget": self.limits,
            "reachable": {
                name: {"least": table.least(name), "greatest": table.greatest(name)}
                for name in table.teacher.measured
            },
            "assumptions": [each.model_dump() for each in self.assumed],
        }

    def _options(self, block: str) -> list[dict[str, Any]]:
        table = self.space.table
        return [
            {"option": str(option)} | (table.teacher + change).to_json()
            for option, change in table.changes[block].items()
            if option != KEEP
        ]


def inspect(spec: JobSpec, references: References) -> Inspection:
    """Raises InvalidSpec on the first field that cannot work."""
    assumed = assumptions(spec)
    known = teacher_architecture(spec, references)
    spec = as_its_weights_want(spec, known)
    _check_names(spec)
    data = contents(
        references.source(spec.dataset.source), spec.dataset.image_size, cache=references.cache
    )
    if spec.dataset.imbalance is not None:
        counts = long_tail(data.train_counts, spec.dataset.imbalance)
        data = replace(data, train_counts=tuple(counts))
    _check_classes(spec, data)
    _check_validation(spec, data)
    _check_methods_fit(spec, data)
    if data.image_size < known.min_size:
        raise InvalidSpec(
            "dataset.image_size",
            f"{data.image_size} pixels is too small for {known.name}, which needs at least "
            f"{known.min_size}; set dataset.image_size",
        )
    _check_drop(spec)
    network, preparation = build_teacher(spec, known, len(data.classes), references)
    if known.classes is not None:
        _check_fits(network, known, data)
    if known.own_size not in (None, data.image_size):
        assumed.append(_other_size(known, data))
    if preparation == "fine-tuning":
        assumed.append(_new_head(data))
    if data.untested:
        assumed.append(_not_tested(data))
    space = _space(spec, network, data)
    found = Inspection(spec, assumed, network, preparation, data, space, {})
    if known_latencies := Known.of(spec, references, device_of(spec)):
        space = timed_if_known(space, network, found.shape, known_latencies)
    return found.with_space(spec, space)


def _other_size(known: Architecture, data: Contents) -> Assumption:
    return Assumption(
        field="dataset.image_size",
        message=f"the teacher's file is made for images of {known.own_size} pixels a side, and "
        f"these have {data.image_size}, at which it may be right less often; where that is not "
        f"meant, say {known.own_size}",
    )


def _new_head(data: Contents) -> Assumption:
    return Assumption(
        field="teacher.num_classes",
        message=f"the weights are of other classes than the {len(data.classes)} of the data, so "
        "the teacher gets a new head and is trained further first; if the data lack a class by "
        "accident, add its folder",
    )


def _not_tested(data: Contents) -> Assumption:
    named = ", ".join(data.untested[:5])
    if len(data.untested) > 5:
        named += f" and {len(data.untested) - 5:,} more classes"
    return Assumption(
        field="dataset.source",
        message=f"no test image is of {named}, of which test accuracies say nothing; where that is "
        "not meant, add such images",
    )


def _check_fits(network: fx.GraphModule, known: Architecture, data: Contents) -> None:
    """A network that somebody brought may take images of one size, or of other channels, alone."""
    size = data.image_size
    try:
        with torch.no_grad():
            scores = copy.deepcopy(network).eval()(torch.zeros(2, 3, size, size))
    except Exception as error:  # whatever its nodes raise
        remedy = "set dataset.image_size"
        if known.file is None:
            remedy += ", or let it take three channels, as grey images have them too"
        elif known.own_size is not None:
            remedy = f"it is made for {known.own_size}: {remedy}"
        raise InvalidSpec(
            "dataset.image_size",
            f"images [N, 3, {size}, {size}] do not go through the network of {known.name} "
            f"({error}); {remedy}",
        ) from error
    if scores.shape != (2, len(data.classes)):
        raise InvalidSpec(
            "teacher.architecture",
            f"{known.name} gives {list(scores.shape)} for 2 images; let it give one score for each "
            f"class, [2, {len(data.classes)}]",
        )


def _check_names(spec: JobSpec) -> None:
    if spec.search.operators != "auto":
        with blaming("search.operators"):
            for name in spec.search.operators:
                operator(name)
    for part, distill in (("distill", spec.distill), ("finish", spec.finish)):
        try:
            found = method(distill.method)
        except ValueError as error:
            raise InvalidSpec(f"{part}.method", str(error)) from error
        for name, reason in found.refusals(distill.parameters).items():
            raise InvalidSpec(f"{part}.parameters.{name}", reason)
        if part == "distill" and found.of(distill.parameters).online:
            as_it_is = " with these parameters" if found.name in BRIEF else ""
            raise InvalidSpec(
                "distill.method",
                f"{found.name}{as_it_is} trains other networks along with the student, for which "
                "brief trials have no time; name it in finish.method, and here one of "
                f"{', '.join(BRIEF)}",
            )


def _check_methods_fit(spec: JobSpec, data: Contents) -> None:
    for part, distill in (("distill", spec.distill), ("finish", spec.finish)):
        taught = method(distill.method).of(distill.parameters)
        if reason := taught.misfit(data.image_size):
            raise InvalidSpec(f"{part}.parameters", reason)


def _check_classes(spec: JobSpec, data: Contents) -> None:
    wanted = spec.teacher.num_classes
    if wanted is not None and wanted != len(data.classes):
        raise InvalidSpec(
            "teacher.num_classes",
            f"{wanted} does not match the data, which has {len(data.classes)} classes "
            f"({', '.join(data.classes[:5])}, ...); leave it out, or null, to take the data's",
        )


def _check_drop(spec: JobSpec) -> None:
    if spec.accuracy_drop is None:
        return
    if needs_no_teacher(spec):
        raise InvalidSpec(
            "budget.accuracy_drop",
            f"{spec.accuracy_drop:g} points against a teacher that this job does not train; give "
            "teacher.weights, or leave it out",
        )
    if spec.finish.finalists == 0:
        raise InvalidSpec(
            "finish.finalists",
            "0 leaves open who is within budget.accuracy_drop, which finished students decide; "
            "allow at least 1",
        )


def _check_validation(spec: JobSpec, data: Contents) -> None:
    fraction = spec.dataset.validation_fraction
    if fraction != "auto" and data.validation is not None:
        raise InvalidSpec(
            "dataset.validation_fraction",
            f"{fraction} has no use: the data set brings its own validation split, of "
            f"{data.validation:,} images; leave it out, or take the split out of the data set",
        )


def _space(spec: JobSpec, network: fx.GraphModule, data: Contents) -> Space:
    names = None if spec.search.operators == "auto" else spec.search.operators
    scope = Scope(names, spec.search.granularity, spec.search.include, spec.search.exclude)
    shape = 1, 3, data.image_size, data.image_size
    if spec.plan is not None:
        with blaming("plan"):
            return planned_space(network, shape, Plan.from_json(spec.plan))
    with blaming("teacher.architecture"):
        space = find_space(network, shape, scope)
    if not space.blocks:
        reasons = "; ".join(f"{left.name}: {left.reason}" for left in space.left_out[:3])
        is_narrowed = spec.search.include is not None or spec.search.exclude is not None
        raise InvalidSpec(
            "search.include" if is_narrowed else "search.operators",
            f"no block of {spec.teacher.architecture} can be replaced ({reasons}); allow more "
            "operators or fewer exclusions",
        )
    return space


def _limits(spec: JobSpec, space: Space) -> dict[Quantity, float | None]:
    """Of a latency that is not measured yet it is unknown what is a share of the teacher's."""
    found: dict[Quantity, float | None] = {
        name: _limit(name, getattr(spec.budget, name, None), space.table.teacher)
        for name in _COUNTED
    }
    found["latency_ms"] = _latency_limit(spec, space.table.teacher)
    asked = {
        name: limit
        for name, limit in found.items()
        if limit is not None and name in space.table.teacher.measured
    }
    if spec.plan is None:
        _require_reachable(asked, space)
    else:
        _require_within(asked, space.table.cost(Plan.from_json(spec.plan)))
    return found


def _limit(name: Counted, asked: int | str | None, teacher: Cost) -> int | None:
    if asked is None:
        return None
    whole = teacher.counted(name)
    limit = limit_of(asked, whole)
    if limit > whole:
        raise InvalidSpec(
            f"budget.{name}",
            f"{limit:,} is over 100% of the teacher's {whole:,}; give at most that",
        )
    return limit


def _latency_limit(spec: JobSpec, teacher: Cost) -> float | None:
    asked = None if spec.latency is None else spec.latency.ms
    whole = teacher.latency_ms
    if asked is None or (whole is None and isinstance(asked, str)):
        return None
    limit = milliseconds_of(asked, whole or 0.0)
    if whole is not None and limit > whole:
        raise InvalidSpec(
            "budget.latency.ms",
            f"{limit:.3f} is over 100% of the teacher's {whole:.3f} ms; give at most that",
        )
    return limit


def _require_reachable(limits: Mapping[Quantity, float], space: Space) -> None:
    for name, limit in limits.items():
        whole, least = space.table.teacher.quantity(name), space.table.least(name)
        if limit < least:
            looks_like_a_share = name in _COUNTED and limit <= 100
            raise InvalidSpec(
                _FIELDS[name],
                f"{figure(name, limit)} cannot be reached: the least that these options reach is "
                f"{figure(name, least)} ({least / whole:.1%} of the teacher's "
                f"{figure(name, whole)}); raise the budget"
                + (f" (a share is written {limit:g}%)" if looks_like_a_share else ""),
            )
    indifferent = {block: dict.fromkeys(options, 0.0) for block, options in _changing(space)}
    if Solver(space.table, indifferent).best(limits) is None:
        named = " and ".join(figure(name, limit) for name, limit in limits.items())
        raise InvalidSpec(
            "budget", f"{named} can each be reached, but not together; raise one of them"
        )


def _require_within(limits: Mapping[Quantity, float], cost: Cost) -> None:
    for name, limit in limits.items():
        if cost.quantity(name) > limit:
            raise InvalidSpec(
                "plan",
                f"it has {figure(name, cost.quantity(name))}, over the budget of "
                f"{figure(name, limit)}; raise that or leave it out",
            )


def figure(name: Quantity, value: float) -> str:
    """An amount as people read it."""
    units = {"flops": "FLOPs", "params": "parameters"}
    return f"{value:.3f} ms" if name == "latency_ms" else f"{value:,.0f} {units[name]}"


def _changing(space: Space) -> Iterator[tuple[str, list[Option]]]:
    for block, options in space.table.changes.items():
        yield block, [option for option in options if option != KEEP]
