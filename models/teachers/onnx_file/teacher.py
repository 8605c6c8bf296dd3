"""A teacher from an ONNX file: the network, what the file says of it, and proof that both agree."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnx import ModelProto
from onnx.helper import find_min_ir_version_for
from torch import Tensor, fx
from torch.nn import functional as F

from pareconv.models.errors import OnnxError
from pareconv.models.teachers.architecture import IMAGENET
from pareconv.models.teachers.onnx_file.conversion import Ends, convert
from pareconv.models.teachers.onnx_file.norms import fresh_norms
from pareconv.models.teachers.onnx_file.reading import opset_of, read_onnx

TOLERANCE = 1e-4  # of the largest output

_PHOTOGRAPHS = 8
_ANY_SIZE = 64  # pixels, for a file that takes any
# What later versions of the format brought (types of 4 and 8 bits, several devices) no teacher has.
_KNOWN_IR = 10


@dataclass(frozen=True, eq=False)
class OnnxTeacher:
    """A network in eval mode, of `classes` scores.

    `norms_restored` counts the batch norms that the file had lost; `difference` is the largest of
    any output from the file's, as a share of the largest output.
    """

    network: fx.GraphModule
    ends: Ends
    classes: int
    opset: int
    producer: str
    norms_restored: int
    difference: float


def check_onnx(path: Path) -> OnnxTeacher:
    """Convert a file and run both on photographs.

    Raises OnnxError where the file cannot be read safely or converted, or where an output differs
    by more than the tolerance.
    """
    model = read_onnx(path)
    return compare(model, partial(_run, model))


def compare(model: ModelProto, run: Callable[[Ends, Tensor], Tensor]) -> OnnxTeacher:
    """Convert a model, and hold the network against `run` on photographs."""
    network, ends = convert(model)
    images = photographs(ends.size or _ANY_SIZE)
    expected = run(ends, images)
    with torch.no_grad():
        scores = network(images)
    if scores.dim() != 2:
        raise OnnxError(
            f"the file must give scores [N, classes], it gives {list(scores.shape)} for "
            f"{len(images)} images"
        )
    shown = scores.softmax(dim=1) if ends.softmax else scores
    difference = float((shown - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
    if not difference <= TOLERANCE:
        raise OnnxError(
            f"the network made of the file computes something else: its outputs differ by "
            f"{difference:.2g} of the largest, the limit is {TOLERANCE}"
        )
    producer = f"{model.producer_name} {model.producer_version}".strip()
    return OnnxTeacher(
        network=network,
        ends=ends,
        classes=scores.shape[1],
        opset=opset_of(model),
        producer=producer[:200],
        norms_restored=len(fresh_norms(network)),
        difference=difference,
    )


def photographs(size: int) -> Tensor:
    """Parts of scikit-learn's two photographs, normalised as for ImageNet: [8, 3, size, size]."""
    from sklearn.datasets import load_sample_images  # here, as it takes seconds to load

    pictures = torch.from_numpy(np.stack(load_sample_images().images)).permute(0, 3, 1, 2) / 255
    parts = torch.cat([*pictures.unfold(3, 160, 160).unbind(3)])
    parts = F.interpolate(parts.reshape(-1, 3, *parts.shape[-2:]), size, mode="area")
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in IMAGENET)
    return (parts[:_PHOTOGRAPHS] - mean) / std


def _run(model: ModelProto, ends: Ends, images: Tensor) -> Tensor:
    """The file's own outputs, by as many images at a time as it takes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            _for_runtime(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        outputs = [
            session.run(None, {ends.input: _laid_out(batch, ends)})[0]
            for batch in torch.split(images, ends.batch or len(images))
        ]
    except Exception as error:  # whatever the runtime has to say of a file that anyone may write
        raise OnnxError(f"the ONNX file does not run in onnxruntime: {error}") from error
    return torch.from_numpy(np.concatenate(outputs))


def _for_runtime(model: ModelProto) -> ModelProto:
    """A model that says no later format than its operators need: `onnx.helper` writes its own
    latest, which onnxruntime refuses until it catches up.
    """
    needed = find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)
    lowered = ModelProto()
    lowered.CopyFrom(model)
    lowered.ir_version = min(model.ir_version, max(needed, _KNOWN_IR))
    return lowered


def _laid_out(images: Tensor, ends: Ends) -> "np.ndarray[Any, Any]":
    return (images.permute(0, 2, 3, 1) if ends.channels_last else images).contiguous().numpy()
