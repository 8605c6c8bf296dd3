"""Dots: what a chart needs of the candidates that were measured, on every database."""

import pytest

from pareconv.storage.candidates import CandidateStore
from pareconv.storage.dots import Dot, dots

MEASURED = {"accuracy": 0.9, "accuracy_stderr": 0.01, "loss": 0.3, "seconds": 1.0}
MEASURED |= {"images": 10, "compute": 1.0, "rungs": [], "checkpoint": None}


@pytest.fixture
def candidates(database):
    return CandidateStore(database)


def test_they_are_the_measured_ones_by_number(database, candidates, job):
    for latency in (2.5, None, None, None):
        candidates.create(job.id, {}, flops=2**40, adds=3, params=7, latency_ms=latency)
    candidates.complete(job.id, 0, **MEASURED)
    stopped = {name: value for name, value in MEASURED.items() if name != "checkpoint"}
    candidates.stop(job.id, 1, "beaten", **stopped, checkpoint=None)
    candidates.fail(job.id, 2, "broken")

    found = dots(database, job.id, "flops")
    assert found == [
        Dot(0, True, 2**40 + 3, 0.9, 0.01, 1, None, False),
        Dot(1, False, 2**40 + 3, 0.9, 0.01, 1, None, False),
    ]
    assert [dot.cost for dot in dots(database, job.id, "params")] == [7, 7]
    assert [(dot.number, dot.cost) for dot in dots(database, job.id, "latency")] == [(0, 2.5)]
    assert dots(database, "nobody", "flops") == []
