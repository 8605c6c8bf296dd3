"""A student back from its safetensors file: weights and plan in one."""

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import fx, nn

from pareconv.models.errors import WeightsError
from pareconv.models.graph import canonical
from pareconv.models.plan import Plan
from pareconv.models.rewriting import rewrite
from pareconv.models.teachers.architecture import Architecture
from pareconv.models.teachers.architectures import architecture
from pareconv.models.teachers.lending import of_module
from pareconv.models.teachers.model_file import OF_FILE, of_file
from pareconv.models.teachers.weights import load_weights

_NEEDED = ("architecture", "num_classes", "plan")


def load_student(path: Path, teacher: Path | nn.Module | None = None) -> fx.GraphModule:
    """The student that a job exported as `safetensors`, in eval mode on the CPU.

    Where its teacher came as a file that holds the network, `teacher` is that file; code in a .pt2
    file may run. Where it was a module, `teacher` is that, with whatever weights. Raises
    WeightsError where `path` is not such an export, or is of another teacher.
    """
    try:
        with safe_open(path, framework="pt") as file:
            texts = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise WeightsError(f"{path.name} is not a safetensors file: {error}") from error
    missing = [name for name in _NEEDED if name not in texts]
    if missing:
        raise WeightsError(f"{path.name} is not an exported student: no {', '.join(missing)}")
    metadata = {name: json.loads(texts[name]) for name in _NEEDED}
    with torch.random.fork_rng(devices=[]):
        network = _teacher(metadata["architecture"], teacher).build(metadata["num_classes"])
        student = rewrite(canonical(network), Plan.from_json(metadata["plan"]))
    load_weights(student, weights)
    return student.eval()


def _teacher(name: str, given: Path | nn.Module | None) -> Architecture:
    if isinstance(given, nn.Module):
        known = of_module(given)
        if known.name != name:
            raise WeightsError(f"the student is of {name}, and the module given is {known.name}")
        return known
    return _of_name_or_file(name, given)


def _of_name_or_file(name: str, file: Path | None) -> Architecture:
    if not name.startswith(OF_FILE):
        return architecture(name)
    if file is None:
        raise WeightsError(f"the student is of a teacher that came as a file; give that ({name})")
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != name.removeprefix(OF_FILE):
        raise WeightsError(f"{file.name!r} is not the file of the student's teacher ({name})")
    return of_file(name, file, trusted=True)  # it is the caller's own
