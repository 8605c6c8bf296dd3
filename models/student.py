"""A student back from its safetensors file: weights and plan in one."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import fx

from pareconv.models.errors import WeightsError
from pareconv.models.graph import canonical
from pareconv.models.plan import Plan
from pareconv.models.rewriting import rewrite
from pareconv.models.teachers.architectures import architecture
from pareconv.models.teachers.weights import load_weights

_NEEDED = ("architecture", "num_classes", "plan")


def load_student(path: Path) -> fx.GraphModule:
    """The student that a job exported as `safetensors`, in eval mode on the CPU.

    Raises WeightsError where the file is not such an export.
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
        teacher = canonical(architecture(metadata["architecture"]).build(metadata["num_classes"]))
        student = rewrite(teacher, Plan.from_json(metadata["plan"]))
    load_weights(student, weights)
    return student.eval()
