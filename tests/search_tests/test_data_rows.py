"""Rows of a tensor: the same as the tensor that they stand for, without being one."""

import pytest
import torch

from pareconv.search.data.rows import Rows, chunks, moved, some

SOURCE = torch.arange(20 * 3 * 4 * 4).to(torch.uint8).view(20, 3, 4, 4)
CHOSEN = torch.tensor([7, 3, 19, 3, 0, 11])


@pytest.fixture(params=["of a tensor", "of rows"])
def rows(request):
    if request.param == "of a tensor":
        return some(SOURCE, CHOSEN)
    order = torch.arange(19, -1, -1)
    return some(some(SOURCE, order), 19 - CHOSEN)


@pytest.mark.parametrize(
    "index", [slice(None), slice(1, 4), slice(4, 100), torch.tensor([5, 0, 0]), torch.tensor([-1])]
)
def test_they_are_indexed_like_the_tensor(rows, index):
    assert torch.equal(rows[index], SOURCE[CHOSEN][index])


def test_they_have_its_shape(rows):
    assert (len(rows), rows.shape) == (6, (6, 3, 4, 4))


def test_what_is_asked_for_comes_on_their_device(rows):
    there = moved(rows, "meta")
    assert isinstance(there, Rows)
    assert there[:2].device.type == "meta"
    assert torch.equal(moved(there, "cpu")[:], SOURCE[CHOSEN])


def test_changing_what_they_gave_changes_nothing(rows):
    rows[:].zero_()
    assert torch.equal(rows[:], SOURCE[CHOSEN])


@pytest.mark.parametrize("side", [4, 1024, 2048])
def test_chunks_cover_all_and_are_small(side):
    images = torch.empty(30, 3, 1, 1, dtype=torch.uint8).expand(30, 3, side, side)
    parts = chunks(images)
    assert [n for part in parts for n in range(30)[part]] == list(range(30))
    assert all(len(range(30)[part]) * 3 * side**2 <= max(2**23, 3 * side**2) for part in parts)
