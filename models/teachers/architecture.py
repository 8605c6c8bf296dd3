"""A network that can be asked for by name, and how it is built. Knows no weights."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

# The side of an image below which no network has enough left to convolve.
SMALLEST_SIZE = 8

Triple = tuple[float, float, float]

IMAGENET: tuple[Triple, Triple] = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A network by name. Sizes are the side of a square image in pixels."""

    name: str
    family: str
    source: str  # the paper
    build: Callable[[int], nn.Module]  # num_classes -> network with fresh weights, in train mode
    min_size: int = SMALLEST_SIZE
    default_size: int = 32
    pretrained: bool = False  # whether `weights.pretrained` has weights for it
    # Modules of published weights that the network lacks, as they serve its first training alone.
    training_only: frozenset[str] = frozenset()
    # Of the images that its weights were trained on, scaled to [0, 1]: means and deviations.
    statistics: tuple[Triple, Triple] = IMAGENET
    # That holds the network: it is built with the weights there, but for a head of other classes.
    file: Path | None = None
    own_size: int | None = None  # of the images that the file is made for, where it says so
    classes: int | None = None  # of the head that it has already, in a file or as a module
