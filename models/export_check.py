"""Run an exported file on stored images: `python -I export_check.py FORMAT FILE INPUTS.npy
OUTPUTS.npy [TEACHER]`.

Started as a script in a clean process. A `pt2` or `onnx` file must run without this project; of a
`safetensors` file `load_student` is what is checked.
"""

import sys

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


def _run_pt2(path: str, images: Array, _teacher: str | None) -> Array:
    import torch

    module = torch.export.load(path).module()
    with torch.no_grad():
        outputs: Array = module(torch.from_numpy(images)).numpy()
    return outputs


def _run_onnx(path: str, images: Array, _teacher: str | None) -> Array:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs: Array = session.run(None, {session.get_inputs()[0].name: images})[0]
    return outputs


def _run_safetensors(path: str, images: Array, teacher: str | None) -> Array:
    from pathlib import Path

    import torch

    from pareconv.models.student import load_student

    with torch.no_grad():
        student = load_student(Path(path), None if teacher is None else Path(teacher))
        outputs: Array = student(torch.from_numpy(images)).numpy()
    return outputs


def main(format: str, path: str, inputs: str, outputs: str, teacher: str | None = None) -> None:
    run = {"pt2": _run_pt2, "onnx": _run_onnx, "safetensors": _run_safetensors}[format]
    np.save(outputs, run(path, np.load(inputs), teacher))
    if format != "safetensors" and any(name.startswith("pareconv") for name in sys.modules):
        raise RuntimeError(f"{format} loaded pareconv")


if __name__ == "__main__":
    main(*sys.argv[1:])
