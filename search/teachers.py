"""The teacher that a spec names: which network, and its weights where it has some."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, fx

from pareconv.models.errors import ModelError, WeightsError
from pareconv.models.graph import canonical
from pareconv.models.teachers.architecture import Architecture
from pareconv.models.teachers.architectures import architecture
from pareconv.models.teachers.model_file import holds_network, of_file
from pareconv.models.teachers.weights import load_weights, pretrained, read_weights
from pareconv.search.errors import InvalidSpec
from pareconv.search.references import References
from pareconv.search.seeds import derived
from pareconv.search.spec import JobSpec, Normalize, Preparation


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
    if not spec.teacher.is_file:
        with blaming("teacher.architecture"):
            return architecture(name)
    if spec.teacher.weights is not None:
        raise InvalidSpec(
            "teacher.weights",
            f"is {spec.teacher.weights!r}, and {name} is a file with weights of its own; leave it "
            "out",
        )
    path = references.model_file(name)
    with blaming("teacher.architecture"):
        return of_file(name, path, trusted=references.trusts_programs)


def as_its_weights_want(spec: JobSpec, known: Architecture) -> JobSpec:
    """The same job; with published weights `auto` is the size and the statistics of the images that
    they were trained on.
    """
    if spec.teacher.weights != "default":
        return spec
    teacher, dataset = spec.teacher, spec.dataset
    if teacher.normalize == "auto":
        mean, std = known.statistics
        teacher = teacher.model_copy(update={"normalize": Normalize(mean=mean, std=std)})
    if dataset.image_size == "auto":
        dataset = dataset.model_copy(update={"image_size": known.default_size})
    return spec.model_copy(update={"teacher": teacher, "dataset": dataset})


def build_teacher(
    spec: JobSpec, known: Architecture, num_classes: int, references: References
) -> tuple[fx.GraphModule, Preparation]:
    """The network with its weights, and what it needs before anything is learnt from it. What it
    has no weights for is drawn at random, the same each time.
    """
    with blaming("teacher.architecture"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived(spec.seed, "teacher"))
        network = canonical(known.build(num_classes))
    if known.file is not None:
        return network, "none" if known.classes == num_classes else "fine-tuning"
    weights = _weights(spec, references)
    if weights is None:
        return network, "training"
    with blaming("teacher.weights"):
        is_whole = load_weights(
            network, weights, training_only=known.training_only, any_classes=True
        )
    return network, "none" if is_whole else "fine-tuning"


def _weights(spec: JobSpec, references: References) -> dict[str, Tensor] | None:
    reference = spec.teacher.weights
    if reference is None:
        return None
    with blaming("teacher.weights"):
        if reference == "default":
            return pretrained(spec.teacher.architecture)
        path = references.weights(reference)
        if path.is_file() and holds_network(path):
            raise WeightsError(
                f"{reference} is a whole network, which brings its weights along; name it as "
                "teacher.architecture (--teacher), and leave teacher.weights out"
            )
        return read_weights(path)
