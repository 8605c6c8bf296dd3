"""A student back from its safetensors file: weights and plan in one."""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from torch import fx

from pareconv.models.errors import WeightsError
from pareconv.models.graph import canonical
from pareconv.models.plan import Plan
from pareconv.models.rewriting import rewrite
from pareconv.models.teachers.architectures import architecture
from pareconv.models.teachers.weights import load_weights


def load_student(path: Path) -> fx.GraphModule:
    """The student that a job exported as `safetensors`, in eval mode on the CPU.

    Raises WeightsError where the file is not such an export.
    """
    with safe_open(path, framework="pt") as file:
        metadata = {name: json.loads(value) for name, value in (file.metadata() or {}).items()}
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    missing = {"architecture", "num_classes", "plan"} - set(metadata)
    if missing:
        raise WeightsError(
            f"{path.name} is not an exported student: no {', '.join(sorted(missing))}"
        )
    with torch.random.fork_rng(devices=[]):
        teacher = canonical(architecture(metadata["architecture"]).build(metadata["num_classes"]))
        student = rewrite(teacher, Plan.from_json(metadata["plan"]))
    load_weights(student, weights)
    return student.eval()
