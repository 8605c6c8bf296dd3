"""The teacher that a spec names: which network, and its weights where it has some."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from pareconv.models.errors import ModelError
from pareconv.models.teachers.architecture import Architecture
from pareconv.models.teachers.architectures import architecture
from pareconv.models.teachers.model_file import of_file
from pareconv.models.teachers.weights import pretrained, read_weights
from pareconv.search.errors import InvalidSpec
from pareconv.search.references import References
from pareconv.search.spec import JobSpec


@contextmanager
def blaming(field: str) -> Iterator[None]:
    """What goes wrong inside with a network is wrong with this field of the spec."""
    try:
        yield
    except ModelError as error:
        raise InvalidSpec(field, str(error)) from error


def teacher_architecture(spec: JobSpec, references: References) -> Architecture:
    """By name, or of the file that is named; InvalidSpec where there is none."""
    name = spec.teacher.architecture
    path = references.model_file(name)
    with blaming("teacher.architecture"):
        known = architecture(name) if path is None else of_file(name, path)
    if known.file is not None and spec.teacher.weights is not None:
        raise InvalidSpec(
            "teacher.weights",
            f"is {spec.teacher.weights!r}, and {name} is a file with weights of its own; leave it "
            "out",
        )
    return known


def teacher_weights(spec: JobSpec, references: References) -> dict[str, Tensor] | None:
    """As the spec names them; None where the network has its own, or is to be trained first."""
    reference = spec.teacher.weights
    if reference is None:
        return None
    with blaming("teacher.weights"):
        if reference == "default":
            return pretrained(spec.teacher.architecture)
        return read_weights(references.weights(reference))
