"""What a job is about, for people: uploads go by the names of their files."""

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from pareconv.search.spec import JobSpec
from pareconv.service.figures import count, counted
from pareconv.service.stores import Stores
from pareconv.storage.errors import NotFound
from pareconv.storage.uploads import Kind

_LONGEST = 200


def teacher_and_data(spec: Mapping[str, Any], stores: Stores) -> tuple[str, str]:
    """Such as `network.onnx` and `images.zip`, of a spec as JSON."""
    teacher, source = spec["teacher"]["architecture"], spec["dataset"]["source"]
    return called(teacher, "teacher", stores), called(source, "dataset", stores)


def label(spec: JobSpec, stores: Stores) -> str:
    """Of a job that was given none: `network.onnx on images.zip, 50% FLOPs`."""
    subject = " on ".join(teacher_and_data(spec.to_json(), stores))
    return ", ".join((subject, *_limits(spec)))[:_LONGEST]


def called(reference: str, kind: Kind, stores: Stores) -> str:
    """An architecture or a data set by itself, a file by its name."""
    form, _, rest = reference.partition(":")
    if form == "file":
        return PurePath(rest).name or rest
    if form != kind:
        return reference
    try:
        return stores.uploads[kind].get(rest).filename
    except NotFound:  # deleted since
        return reference


def _limits(spec: JobSpec) -> Iterator[str]:
    if spec.plan is not None:
        yield "one plan"
    for name, unit in (("flops", "FLOPs"), ("params", "parameters")):
        limit = getattr(spec.budget, name, None)
        if limit is not None:
            yield f"{limit if isinstance(limit, str) else count(limit)} {unit}"
    if spec.latency is not None and spec.latency.ms is not None:
        ms = spec.latency.ms
        yield f"{ms} of the latency" if isinstance(ms, str) else f"{ms:g} ms"
    if spec.accuracy_drop is not None:
        yield f"at most {counted(spec.accuracy_drop, 'point')} lost"
