"""Least squares: its solution, of one group of features and of several at once."""

import pytest
import torch

from pareconv.models.convolutions.fitting import ridge


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_the_targets_are_met_where_the_features_can():
    design = torch.randn(3, 500, 20, generator=torch.Generator().manual_seed(0))
    wanted = torch.randn(3, 20, 4, generator=torch.Generator().manual_seed(1))

    found = ridge(design, design @ wanted)

    assert torch.allclose(found, wanted.double(), atol=0.02)  # a thousandth is penalised


def test_features_that_are_the_same_share_the_weight():
    design = torch.randn(1, 500, 1).expand(1, 500, 2)

    found = ridge(design, 2 * design[..., :1])

    assert torch.allclose(found, torch.ones(1, 2, 1, dtype=torch.float64), atol=0.01)


def test_features_that_are_always_zero_get_no_weight():
    found = ridge(torch.zeros(1, 9, 2), torch.ones(1, 9, 1))

    assert torch.equal(found, torch.zeros_like(found))


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("features", [100, 151, 300])
def test_several_groups_are_solved_by_several_threads(features):
    design = torch.eye(features).repeat(2, 1, 1)

    found = ridge(design, torch.ones(2, features, 1))

    assert torch.allclose(found, torch.full_like(found, 1 / 1.001))
