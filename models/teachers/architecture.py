"""A network that can be asked for by name, and how it is built. Knows no weights."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

# The side of an image below which no network has enough left to convolve.
SMALLEST_SIZE = 8


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
    file: Path | None = None  # that holds the network: it is built trained, whatever num_classes
