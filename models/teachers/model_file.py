"""A teacher from a file that holds its network, not its weights alone."""

import copy
from pathlib import Path

from onnx import ModelProto
from torch import nn

from pareconv.models.errors import OnnxError, ProgramError
from pareconv.models.teachers.architecture import Architecture
from pareconv.models.teachers.exported_program import is_program, read_program
from pareconv.models.teachers.head import classes_of, renew_head
from pareconv.models.teachers.onnx_file.conversion import convert
from pareconv.models.teachers.onnx_file.reading import is_onnx, read_onnx

OF_FILE = "sha256:"  # how a student calls the file of its teacher

_USUAL_SIZE = 224  # pixels, of a file that takes any


def of_file(name: str, path: Path, *, trusted: bool = False) -> Architecture:
    """The network in `path`, which is built with the weights that it has there; a head for another
    number of classes is fresh.

    A .pt2 file is loaded where it is `trusted` alone, since that can run code. Raises OnnxError
    where the file is neither, or cannot be converted, ProgramError where it is not trusted, and
    TraceError where its scores do not come from a layer.
    """
    model = _read(name, path, trusted=trusted)
    network, ends = convert(model)

    def build(num_classes: int) -> nn.Module:
        built = copy.deepcopy(network)
        if num_classes != classes_of(network):
            renew_head(built, num_classes)
        return built

    return Architecture(
        name=name,
        family="file",
        source=model.producer_name,
        build=build,
        default_size=ends.size or _USUAL_SIZE,
        file=path,
        own_size=ends.size,
        classes=classes_of(network),
    )


def holds_network(path: Path) -> bool:
    """Whether the file is one for `of_file`, and not of weights alone."""
    return is_onnx(path) or is_program(path)


def _read(name: str, path: Path, *, trusted: bool) -> ModelProto:
    if is_onnx(path):
        return read_onnx(path)
    if not is_program(path):
        raise OnnxError(
            f"{name} is no ONNX file; export a network of your own by torch.onnx.export, or give "
            "weights as teacher.weights (--weights) and the name of their network as "
            "teacher.architecture (--teacher)"
        )
    require_trust(path, trusted=trusted)
    return read_program(path)


def require_trust(path: Path, *, trusted: bool) -> None:
    """Raises ProgramError where programs are not to be loaded."""
    if not trusted:
        raise ProgramError(
            f"{path.name!r} is a .pt2 file, loading which can run code that is in it; export the "
            "network as ONNX, or let the operator of the server set PARECONV_TRUST_PROGRAMS=1"
        )
