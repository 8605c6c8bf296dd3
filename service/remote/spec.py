"""A job spec as a program gives it: a JobSpec, or the same as plain JSON."""

from collections.abc import Mapping
from typing import Any

from pareconv.search.spec import JobSpec

Spec = JobSpec | Mapping[str, Any]


def json_of(spec: Spec) -> dict[str, Any]:
    """What is sent: of a JobSpec what was said, as the server has defaults of its own."""
    if isinstance(spec, JobSpec):
        return spec.model_dump(mode="json", exclude_unset=True)
    return dict(spec)
