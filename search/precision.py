"""Precision: how networks run fastest on a device without losing what is measured.

Trials, the finish and the teacher's answers run under bfloat16 autocast where the device has
instructions for it, and with channels last (docs/performance.md has the figures). Libraries are
built, and what is reported is measured, in float32.
"""

from contextlib import AbstractContextManager
from typing import TypeVar

import torch
from torch import nn

NetworkT = TypeVar("NetworkT", bound=nn.Module)


def fast(device: torch.device | str) -> AbstractContextManager[None]:
    """bfloat16 autocast where `device` gains by it."""
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=has_bfloat16(kind))


def channels_last(network: NetworkT) -> NetworkT:
    """The same network, its 4-dimensional weights laid out channels last, in place."""
    return network.to(memory_format=torch.channels_last)


def has_bfloat16(kind: str) -> bool:
    """Whether that kind of device has instructions for it."""
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if kind != "cpu":
        return False
    # Without instructions for it oneDNN converts back and forth, slower than float32.
    checks = torch.cpu._is_avx512_bf16_supported, torch.cpu._is_amx_tile_supported
    return any(bool(check()) for check in checks)
