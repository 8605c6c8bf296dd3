"""What a worker tells of itself while it lives."""

import sys
import types

import pytest

from pareconv.search.gpus import gpus
from pareconv.search.presence import Presence
from pareconv.storage.statistics import StatisticsStore


class NVMLError(Exception):
    pass


def driver(*used):
    """A driver of GPUs of 80 bytes each, as nvidia-ml-py shows them."""
    return types.SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: len(used),
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUUID=lambda handle: f"GPU-{handle}abc",
        nvmlDeviceGetName=lambda _: "H100",
        nvmlDeviceGetMemoryInfo=lambda handle: types.SimpleNamespace(used=used[handle], total=80),
    )


@pytest.mark.parametrize(
    ("visible", "ids"),
    [
        (None, ["GPU-0abc", "GPU-1abc"]),
        ("1", ["GPU-1abc"]),
        ("GPU-0a", ["GPU-0abc"]),
        ("0, 1", ["GPU-0abc", "GPU-1abc"]),
        ("", []),
        ("-1", []),
    ],
)
def test_a_worker_tells_the_gpus_that_it_may_use(monkeypatch, visible, ids):
    monkeypatch.setitem(sys.modules, "pynvml", driver(10, 20))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = gpus()
    assert [gpu["id"] for gpu in found] == ids
    assert all(gpu["used_bytes"] in {10, 20} and gpu["total_bytes"] == 80 for gpu in found)


@pytest.mark.parametrize("call", ["nvmlInit", "nvmlDeviceGetMemoryInfo"])
def test_a_driver_that_does_not_answer_costs_nothing(monkeypatch, call):
    def fail(*_):
        raise NVMLError("driver not loaded")

    broken = driver(10)
    setattr(broken, call, fail)
    monkeypatch.setitem(sys.modules, "pynvml", broken)
    assert gpus() == []


def test_a_worker_is_seen_while_it_is_there(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", driver(10))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    statistics = StatisticsStore(home.stores.database)
    with Presence(home.stores.workers, "w") as presence:
        while not (seen := statistics.read().workers):
            assert presence._thread.is_alive()
        assert seen[0].owner == "w"
        assert seen[0].gpus[0]["used_bytes"] == 10
    assert statistics.read().workers == []
