"""Real digits, a small network, and a small search space by hand, for the tests of the search."""

import os
from collections.abc import Callable

import pytest
import torch
from torch import nn

from pareconv.models.cost_table import Cost, CostTable
from pareconv.models.plan import KEEP, Option
from pareconv.search.data.batches import Split, statistics
from pareconv.search.data.digits import load
from pareconv.search.data.images import Images


@pytest.fixture(autouse=True)
def _unconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database or a store that is configured is not the tests' to touch."""
    for name in list(os.environ):
        if name.startswith("PARECONV_") and "TEST" not in name:
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def digits() -> Images:
    """1,438 digits to train on and 359 to test on, 8 pixels a side."""
    return load(8)


@pytest.fixture(scope="session")
def digit_splits(digits) -> tuple[Split, Split]:
    """(train, test), normalised by their own statistics."""
    normalize = statistics(digits.train_images)
    return (
        Split(digits.train_images, digits.train_labels, *normalize),
        Split(digits.test_images, digits.test_labels, *normalize),
    )


@pytest.fixture
def small_network() -> Callable[[int], nn.Module]:
    """Makes networks of two convolutions for 10 classes from a seed."""

    def make(seed: int = 0) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Sequential(
                nn.Conv2d(3, 12, 3, padding=1, bias=False),
                nn.BatchNorm2d(12),
                nn.ReLU(),
                nn.Conv2d(12, 24, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(24),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(2),
                nn.Flatten(),
                nn.Linear(96, 10),
            )

    return make


@pytest.fixture(scope="session")
def table() -> CostTable:
    """Three blocks of four options each, 64 plans, of a teacher of 1,000 FLOPs and 900 parameters.

    `ghost` saves mostly FLOPs, `shift` mostly parameters.
    """
    changes = {
        KEEP: Cost(),
        Option.of("ghost"): Cost(flops=-200, params=-50),
        Option.of("shift"): Cost(flops=-50, params=-180),
        Option.of("svd", ratio=0.25): Cost(flops=-240, params=-200),
    }
    return CostTable(Cost(1000, 900), dict.fromkeys(("a", "b", "c"), changes))
