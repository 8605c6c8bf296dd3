"""Findings: what a report tells of the networks themselves, measured where they are in memory."""

import os
import platform
from importlib.metadata import version
from typing import Any

import torch
from torch import fx, nn

from pareconv.models.blocks import find_blocks
from pareconv.models.cost import flops_by_operator
from pareconv.models.plan import Plan
from pareconv.models.rewriting import known_blocks, rebuilt_convs
from pareconv.models.space import block_costs
from pareconv.search.workbench import Workbench

_LIBRARIES = ("pareconv", "torch", "torchvision", "onnx", "onnxruntime", "numpy")


def findings(bench: Workbench, student: fx.GraphModule, plan: Plan) -> dict[str, Any]:
    """`operators`: FLOPs of teacher and student by kind; `blocks`: what each of the teacher's
    costs, and the convolutions that `plan` rebuilds; `versions` and `device`: what
    computed it.
    """
    shape = 1, *bench.train.images.shape[1:]
    return {
        "operators": {
            "teacher": flops_by_operator(bench.teacher, *shape),
            "student": flops_by_operator(student, *shape),
        },
        "blocks": _blocks(bench, plan),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in _LIBRARIES},
        "device": _device(bench.spec.device),
    }


def _blocks(bench: Workbench, plan: Plan) -> list[dict[str, Any]]:
    teacher, known = bench.teacher, known_blocks(bench.teacher)
    found = [block.name for block in find_blocks(teacher, bench.spec.search.granularity)]
    names = list(dict.fromkeys([*found, *plan]))
    _, channels, height, width = bench.train.images.shape
    costs = block_costs(teacher, (1, channels, height, width), names)
    rebuilt = {name: rebuilt_convs(teacher, known[name], option) for name, option in plan.items()}
    return [
        {
            "name": name,
            "cost": costs[name].to_json(),
            "rebuilt": [_described(teacher, conv) for conv in rebuilt.get(name, ())],
        }
        for name in names
    ]


def _described(network: fx.GraphModule, name: str) -> dict[str, Any]:
    conv = network.get_submodule(name)
    assert isinstance(conv, nn.Conv2d)  # blocks hold no others
    return {
        "name": name,
        "inputs": conv.in_channels,
        "outputs": conv.out_channels,
        "kernel": list(conv.kernel_size),
        "stride": list(conv.stride),
    }


def _device(name: str) -> str:
    if name.startswith("cuda"):
        return torch.cuda.get_device_name(name)
    return f"{platform.machine()} CPU, {os.cpu_count()} cores"
