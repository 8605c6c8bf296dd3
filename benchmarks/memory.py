"""How much memory a process has needed."""

import resource

import torch


def peak_megabytes(device: str) -> float:
    """The most that this process has had resident, or on a GPU allocated there, so far."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
