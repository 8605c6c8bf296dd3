"""A teacher from a `.pt2` file, an exported program of torch. Loading one can run code that is in
it: only those who trust its sender may.
"""

import warnings
import zipfile
from pathlib import Path

import torch
from onnx import ModelProto
from torch import Tensor
from torch.export import ExportedProgram

from pareconv.models.errors import ProgramError
from pareconv.models.teachers.onnx_file.conversion import Ends
from pareconv.models.teachers.onnx_file.reading import checked
from pareconv.models.teachers.onnx_file.teacher import OnnxTeacher, compare
from pareconv.models.teachers.weights import ZIP_FAULTS


def is_program(path: Path) -> bool:
    """By content: a zip with the models that `torch.export.save` writes. Nothing is loaded."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any("/models/" in name for name in archive.namelist())
    except ZIP_FAULTS:
        return False


def read_program(path: Path) -> ModelProto:
    """The program as ONNX, for which there is a way to a network. Raises ProgramError where it
    cannot be loaded or translated. The code in the file may run.
    """
    return _translated(_loaded(path))


def check_program(path: Path) -> OnnxTeacher:
    """Convert a program and run both on photographs. Raises ProgramError, and OnnxError where an
    output differs by more than the tolerance.
    """
    program = _loaded(path)
    module = program.module()

    def run(ends: Ends, images: Tensor) -> Tensor:
        with torch.no_grad():
            parts = torch.split(images, ends.batch or len(images))
            return torch.cat([module(part.contiguous()) for part in parts])

    return compare(_translated(program), run)


def _loaded(path: Path) -> ExportedProgram:
    try:
        with path.open("rb") as file:
            return torch.export.load(file)
    except Exception as error:  # of torch, or of the code in the file
        raise ProgramError(
            f"the .pt2 file cannot be loaded by torch {torch.__version__}: {str(error)[:300]}; "
            "save it again by torch.export.save"
        ) from error


def _translated(program: ExportedProgram) -> ModelProto:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter warns of its own deprecations
            found = torch.onnx.export(program, dynamo=True, verbose=False, optimize=False)
    except Exception as error:  # it says of many kinds what it has no translation for
        raise ProgramError(
            f"the .pt2 file's network cannot be translated: {str(error)[:300]}"
        ) from error
    assert found is not None  # only the legacy exporter returns nothing
    return checked(found.model_proto)
