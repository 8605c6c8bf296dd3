"""What can go wrong with a network, in words its owner understands.

ModelError
├── UnknownArchitecture   no teacher of that name
├── WeightsError          a weights file that cannot be read, or does not fit the network
├── OnnxError             an ONNX file that cannot be read safely, or turned into a network
├── ProgramError          a .pt2 file that is not trusted, or cannot be turned into a network
├── TraceError            a network that cannot be turned into one canonical graph
└── PlanError             a plan that does not fit the network, or changes nothing
"""


class ModelError(ValueError):
    """A network, its weights or a plan for it cannot be used."""


class UnknownArchitecture(ModelError):
    """No teacher of that name is known; the message offers the nearest names."""


class WeightsError(ModelError):
    """A weights file cannot be read safely, or its keys and shapes do not fit the network."""


class OnnxError(ModelError):
    """An ONNX file cannot be read safely, holds what has no counterpart here, or differs from what
    was made of it.
    """


class ProgramError(ModelError):
    """An exported program is not to be loaded here, or cannot be."""


class TraceError(ModelError):
    """The network cannot be traced into one canonical graph, or holds nothing to replace."""


class PlanError(ModelError):
    """A plan names an unknown block or operator, is refused by its block, or changes nothing."""
