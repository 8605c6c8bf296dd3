"""The label of a job that was given none: what is compressed, on what, to which budget."""

from collections.abc import Iterator
from pathlib import PurePath

from pareconv.search.spec import JobSpec
from pareconv.service.figures import count, counted
from pareconv.service.stores import Stores
from pareconv.storage.errors import NotFound
from pareconv.storage.uploads import Kind

_LONGEST = 200


def label(spec: JobSpec, stores: Stores) -> str:
    """Such as `network.onnx on images.zip, 50% FLOPs`; uploads by the names of their files."""
    teacher = _called(spec.teacher.architecture, "teacher", stores)
    dataset = _called(spec.dataset.source, "dataset", stores)
    return ", ".join((f"{teacher} on {dataset}", *_limits(spec)))[:_LONGEST]


def _called(reference: str, kind: Kind, stores: Stores) -> str:
    form, _, rest = reference.partition(":")
    if form == "file":
        return PurePath(rest).name or rest
    if form != kind:
        return reference
    try:
        return stores.uploads[kind].get(rest).filename
    except NotFound:  # deleted since it was looked at
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
