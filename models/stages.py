"""Stages: the stretches of a network in which the resolution stays the same."""

import torch
from torch import Tensor, fx

from pareconv.models.blocks import find_blocks
from pareconv.models.cutting import cut, entry


def stage_ends(network: fx.GraphModule, sample: Tensor) -> list[str]:
    """The graph nodes of the last block's output at each resolution, in the order of the flow.

    `sample` is an image batch [N, C, H, W]; outputs that are no maps end no stage.
    """
    blocks = find_blocks(network, "block")
    watched = cut(network, [entry(network)], [block.output for block in blocks])
    with torch.no_grad():
        values = watched.eval()(sample)
    last = {
        value.shape[2:]: block.output
        for block, value in zip(blocks, values, strict=True)
        if value.ndim == 4
    }
    return list(last.values())
