"""A teacher from a file that holds its network, not its weights alone."""

import copy
from pathlib import Path

from torch import nn

from pareconv.models.errors import OnnxError
from pareconv.models.teachers.architecture import Architecture
from pareconv.models.teachers.head import classes_of, renew_head
from pareconv.models.teachers.onnx_file.conversion import convert
from pareconv.models.teachers.onnx_file.reading import is_onnx, read_onnx

OF_FILE = "sha256:"  # how a student calls the file of its teacher

_USUAL_SIZE = 224  # pixels, of a file that takes any


def of_file(name: str, path: Path) -> Architecture:
    """The network in `path`, which is built with the weights that it has there; a head for another
    number of classes is fresh.

    Raises OnnxError where the file is no ONNX, or cannot be converted, and TraceError where its
    scores do not come from a layer.
    """
    if not is_onnx(path):
        raise OnnxError(
            f"{path.name!r} is no ONNX file; give weights as teacher.weights, and the name of "
            "their network as teacher.architecture"
        )
    model = read_onnx(path)
    network, ends = convert(model)

    def build(num_classes: int) -> nn.Module:
        built = copy.deepcopy(network)
        if num_classes != classes_of(network):
            renew_head(built, num_classes)
        return built

    return Architecture(
        name=name,
        family="onnx",
        source=model.producer_name,
        build=build,
        default_size=ends.size or _USUAL_SIZE,
        file=path,
        classes=classes_of(network),
    )
