"""Device slots of this machine: what of it each task process may use. Knows no torch."""

import os
import subprocess
from collections.abc import Mapping, Sequence

_GPUS = "CUDA_VISIBLE_DEVICES"
_THREADS = "OMP_NUM_THREADS"  # which torch goes by too

Environment = dict[str, str]


def visible_gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if _GPUS in environment:
        named = [each.strip() for each in environment[_GPUS].split(",")]
        # CUDA itself sees those before the first that it cannot make out.
        return named[: named.index("-1")] if "-1" in named else [each for each in named if each]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except OSError:  # no driver is installed
        return []
    found = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
    return [str(number) for number in range(len(found))]


def slot_environments(
    slots: int | None, gpus: Sequence[str], environment: Mapping[str, str] = os.environ
) -> list[Environment]:
    """What each of so many slots adds to the environment of its process: one GPU, dealt in turns,
    and a share of the processor's threads, unless the user said how many.

    None asks for one slot for each GPU, or for one alone. Who is alone may use everything.
    """
    count = slots or max(1, len(gpus))
    if count == 1:
        return [{}]
    threads = max(1, len(os.sched_getaffinity(0)) // count)
    shared = {} if _THREADS in environment else {_THREADS: str(threads)}
    return [shared | ({_GPUS: gpus[number % len(gpus)]} if gpus else {}) for number in range(count)]
