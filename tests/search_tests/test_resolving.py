import pytest
import torch

from pareconv.search.resolving import resolve
from pareconv.search.spec import JobSpec


def library(data, **given):
    spec = JobSpec.model_validate(
        {
            "teacher": {"architecture": "cifar_resnet8"},
            "dataset": {"source": "digits", "image_size": 8},
            "budget": {"flops": "50%"},
            "library": given,
        }
    )
    found = resolve(spec, data).library
    return found.batch_size, found.images, found.lr


def test_a_gpu_learns_with_larger_batches_in_as_many_steps(digits, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert library(digits) == (64, 2048, pytest.approx(0.001))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert library(digits) == (256, 8192, pytest.approx(0.002))


def test_what_is_given_stays(digits, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert library(digits, batch_size=16, images=100, lr=0.1) == (16, 100, 0.1)
    assert library(digits, batch_size=1024)[2] == pytest.approx(0.004)
