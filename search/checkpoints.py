"""Checkpoints: the weights of a network as a content-addressed file."""

import io

from safetensors.torch import load, save
from torch import Tensor, nn

from pareconv.models.teachers.weights import load_weights
from pareconv.storage.files import FileStore


def save_weights(network: nn.Module, files: FileStore) -> str:
    """Store parameters and statistics; the SHA-256 of the file."""
    state = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
    sha256, _ = files.put_stream(io.BytesIO(save(state)))
    return sha256


def read_weights(sha256: str, files: FileStore) -> dict[str, Tensor]:
    """What `save_weights` stored, on the CPU."""
    with files.open(sha256) as file:
        return load(file.read())


def restore_weights(network: nn.Module, sha256: str, files: FileStore) -> None:
    """Put them back into a network of the same structure."""
    load_weights(network, read_weights(sha256, files))
