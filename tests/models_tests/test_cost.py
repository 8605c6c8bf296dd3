"""What a network costs, wherever it is asked."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pareconv.models.cost import count, multiply_adds


def test_a_counter_around_it_changes_no_cost_and_counts_nothing() -> None:
    conv = nn.Conv2d(16, 32, 3, padding=1, bias=False)
    with FlopCounterMode(display=False) as counter:
        cost = count(conv, 1, 16, 8, 8)
        conv(torch.zeros(1, 16, 8, 8))
    assert (cost.flops, cost.params) == (16 * 32 * 9 * 64, 16 * 32 * 9)
    assert multiply_adds(counter) == cost.flops
