"""Metrics, as Prometheus reads them. What workers do is read from the database when it asks: they
are other processes, maybe elsewhere. Only the latencies of requests are this process's own.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from pareconv.storage.statistics import Statistics, StatisticsStore
from pareconv.storage.times import QUEUE

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
# A client may send any word as its method.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Latencies:
    """How long this process took to begin each answer."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "pareconv_request_seconds",
            "Time until the answer to a request began.",
            ("method", "route", "status"),
            registry=self.registry,
            buckets=_BUCKETS,
        )

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        known = method if method in _METHODS else "other"
        self._seconds.labels(known, route, str(status)).observe(seconds)


def exposition(statistics: StatisticsStore, latencies: Latencies) -> bytes:
    """All metrics in Prometheus' text format. Raises what the database does."""
    registry = CollectorRegistry()
    registry.register(_Read(statistics.read()))
    return generate_latest(registry) + generate_latest(latencies.registry)


class _Read(Collector):
    """The metrics of what was read."""

    def __init__(self, found: Statistics) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        found = self._found
        yield _by("pareconv_jobs", "Jobs that there are.", "status", found.jobs)
        yield _by("pareconv_trials", "Trials of these jobs.", "state", found.trials)
        yield _by("pareconv_trials_per_hour", "Trials that ended within the last hour.",
                  "state", found.ended)  # fmt: skip
        yield from self._times()
        yield from self._workers()

    def _times(self) -> Iterator[Metric]:
        found = self._found
        stages = {name: each for name, each in found.seconds.items() if name != QUEUE}
        spent = CounterMetricFamily(
            "pareconv_stage_seconds",
            "Time that workers spent in a stage, over all jobs that there are.",
            labels=["stage"],
        )
        for stage, seconds in sorted(stages.items()):
            spent.add_metric([stage], seconds)
        yield spent
        yield SummaryMetricFamily(
            "pareconv_queue_wait_seconds",
            "How long jobs waited until a worker took them.",
            count_value=found.times.get(QUEUE, 0),
            sum_value=found.seconds.get(QUEUE, 0.0),
        )
        yield GaugeMetricFamily(
            "pareconv_queue_oldest_seconds",
            "How long the first of the queue waits by now.",
            found.oldest_wait_s,
        )

    def _workers(self) -> Iterator[Metric]:
        workers = self._found.workers
        yield GaugeMetricFamily(
            "pareconv_workers", "Workers that were seen within a minute.", len(workers)
        )
        used = GaugeMetricFamily(
            "pareconv_gpu_memory_used_bytes",
            "Memory in use on a GPU that a worker sees, by whomever.",
            labels=["host", "gpu", "name"],
        )
        total = GaugeMetricFamily(
            "pareconv_gpu_memory_total_bytes",
            "Memory of a GPU that a worker sees.",
            labels=["host", "gpu", "name"],
        )
        # Of several workers on one GPU the last that was seen knows best.
        gpus = {(each.host, gpu["id"]): gpu for each in workers for gpu in each.gpus}
        for (host, id), gpu in sorted(gpus.items(), key=lambda each: each[0]):
            used.add_metric([host, id, gpu["name"]], gpu["used_bytes"])
            total.add_metric([host, id, gpu["name"]], gpu["total_bytes"])
        yield used
        yield total


def _by(name: str, text: str, label: str, counts: Mapping[Any, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, count in counts.items():
        family.add_metric([str(value)], count)
    return family
