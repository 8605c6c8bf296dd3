"""Imitation: how far an output is from the teacher's."""

from torch import Tensor

_LEAST_ENERGY = 1e-6


def relative_error(output: Tensor, target: Tensor) -> Tensor:
    """Squared error of each image of the batch over the mean energy of the batch's targets: [B]."""
    error = (output - target).square().flatten(1).mean(1)
    return error / target.square().mean().clamp_min(_LEAST_ENERGY)
