"""Export: a student as files that load without this project, and the proof that they do."""

import copy
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, fx

from pareconv.models import export_check
from pareconv.models.errors import ModelError
from pareconv.models.student import load_student
from pareconv.models.teachers import lending

# Of the largest output: room for another runtime's order of summation, far below any prediction.
_TOLERANCE = 1e-3


class ExportError(ModelError):
    """A network cannot be exported, or the file does not compute what the network does."""


@dataclass(frozen=True, slots=True)
class Exported:
    """One file, and how far its outputs were from the network's when a clean process ran it."""

    format: str
    path: Path
    difference: float


def export(
    network: fx.GraphModule,
    directory: Path,
    formats: Sequence[str],
    *,
    images: Tensor,
    metadata: Mapping[str, Any],
    teacher: Path | None = None,
) -> list[Exported]:
    """Write `network` to `directory` as `student.<format>` and check each file in a process of its
    own.

    `images` [N, C, H, W], normalised, N >= 2: the files take the same size at any batch. `metadata`
    (JSON) travels in each file; `teacher` is the file that holds the teacher's network, if one
    does. The safetensors file of a student whose teacher is lent to this process is checked in
    this one, as no other has its class. Raises ExportError where a format fails or its outputs
    differ.
    """
    # Where channels come last in memory, the exporters add nodes that bring them there.
    network = copy.deepcopy(network).cpu().eval().to(memory_format=torch.contiguous_format)
    images = images.cpu().float().contiguous()
    with torch.no_grad():
        expected = network(images)
    exported = []
    for format in formats:
        path = directory / f"student.{format}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the exporters warn of their own deprecations
                _WRITERS[format](network, path, images[:2], metadata)
        except Exception as error:  # an exporter's failure, whatever it is, belongs to this format
            raise ExportError(f"{format}: the network cannot be exported: {error}") from error
        if format == "safetensors" and lending.find(str(metadata.get("architecture"))):
            with torch.no_grad():
                got = load_student(path)(images)
        else:
            got = outputs_of(format, path, images, teacher)
        exported.append(Exported(format, path, _difference(format, got, expected)))
    return exported


def _write_pt2(
    network: fx.GraphModule, path: Path, images: Tensor, metadata: Mapping[str, Any]
) -> None:
    program = _program(network, images)
    torch.export.save(program, path, extra_files={"metadata.json": json.dumps(metadata)})


def _write_onnx(
    network: fx.GraphModule, path: Path, images: Tensor, metadata: Mapping[str, Any]
) -> None:
    program = torch.onnx.export(
        _program(network, images),
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: "batch"},),  # the program's own, named
        dynamo=True,
        verbose=False,
    )
    assert program is not None  # only the legacy exporter returns nothing
    program.model.metadata_props.update(
        {name: json.dumps(value) for name, value in metadata.items()}
    )
    program.save(path)


def _write_safetensors(
    network: fx.GraphModule, path: Path, _images: Tensor, metadata: Mapping[str, Any]
) -> None:
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(state, path, {name: json.dumps(value) for name, value in metadata.items()})


_WRITERS: dict[str, Callable[[fx.GraphModule, Path, Tensor, Mapping[str, Any]], None]] = {
    "pt2": _write_pt2,
    "onnx": _write_onnx,
    "safetensors": _write_safetensors,
}


def _program(network: fx.GraphModule, images: Tensor) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1)
    return torch.export.export(network, (images,), dynamic_shapes=({0: batch},))


def outputs_of(format: str, path: Path, images: Tensor, teacher: Path | None = None) -> Tensor:
    """What a clean process gets from the file for `images` [N, C, H, W]; ExportError where it does
    not run.
    """
    with tempfile.TemporaryDirectory() as scratch:
        inputs, outputs = Path(scratch, "inputs.npy"), Path(scratch, "outputs.npy")
        np.save(inputs, images.numpy())
        arguments: list[str | Path] = [
            format,
            path,
            inputs,
            outputs,
            *([teacher] if teacher else []),
        ]
        ran = subprocess.run(
            [sys.executable, "-I", export_check.__file__, *arguments],
            capture_output=True,
            text=True,
            cwd=scratch,
            timeout=600,
            check=False,
        )
        if ran.returncode:
            last = ran.stderr.strip().splitlines()[-1:]
            raise ExportError(f"{format}: the file does not run in a clean process: {last}")
        return torch.from_numpy(np.load(outputs))


def _difference(format: str, got: Tensor, expected: Tensor) -> float:
    """Largest difference of any output, relative to the largest output; ExportError above the
    tolerance.
    """
    difference = float((got - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
    if not difference <= _TOLERANCE:
        raise ExportError(
            f"{format}: the file's outputs differ from the network's by {difference:.2g} of the "
            f"largest, above {_TOLERANCE}"
        )
    return difference
