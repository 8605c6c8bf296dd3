"""Timing: how long runs take, one after the other in turns. Knows no torch.

Whatever disturbs the machine disturbs all alike then; within a turn each runs several times, as it
would where it is used, with its weights in the caches.
"""

import gc
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

Runner = Callable[[], object]

_RUNS = 4  # of each in a turn; the first brings it back into the caches and is not counted
_LEAST_TURNS, _MOST_TURNS = 8, 50
_SECONDS = 0.1  # for each that is compared, as far as the bounds on turns allow


@dataclass(frozen=True, slots=True)
class Timing:
    """Median over the turns and half the distance between their quartiles, in milliseconds."""

    ms: float
    spread_ms: float


@dataclass(frozen=True, slots=True)
class Measured:
    """How long a part of a network takes and, in the same turns, how long as the teacher has it.

    `key` is that of the part (`pareconv.models.latency.Part`), for an input of that `shape`.
    """

    key: str
    option: str
    shape: str
    ms: float
    kept_ms: float
    spread_ms: float

    @property
    def change_ms(self) -> float:
        return self.ms - self.kept_ms


def take_turns(runners: Sequence[Runner]) -> list[Timing]:
    """How long each takes, a few runs of each after the other."""
    for run in runners:
        run()
    started = time.perf_counter()
    first = _turn(runners)
    lasted = time.perf_counter() - started
    turns = int(_SECONDS * len(runners) / lasted)
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        others = [_turn(runners) for _ in range(min(_MOST_TURNS, max(_LEAST_TURNS, turns)))]
    finally:
        if was_collecting:
            gc.enable()
    samples = 1000 * np.array([first, *others])  # [turns, runners, runs]
    low, middle, high = np.percentile(samples, (25, 50, 75), axis=(0, 2))
    pairs = zip(middle.tolist(), ((high - low) / 2).tolist(), strict=True)
    return [Timing(ms, spread_ms) for ms, spread_ms in pairs]


def _turn(runners: Sequence[Runner]) -> list[list[float]]:
    """Seconds of the counted runs of each."""
    found = []
    for run in runners:
        ends = []
        for _ in range(_RUNS):
            run()
            ends.append(time.perf_counter())
        found.append([after - before for before, after in pairwise(ends)])
    return found


def processor() -> str:
    """The name of this machine's, as far as it says."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, None) or platform.processor() or platform.machine()
