"""Processes of one thread each: on so small networks two of them get more done than two threads."""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

from pareconv.search.executors.child import ALLOCATOR


@contextmanager
def single_threaded(
    processes: int, *, rows_each: int | None = None
) -> Iterator[ProcessPoolExecutor]:
    """A pool whose waiting tasks are dropped when one fails: what they would find is lost. A
    process is replaced after so many tasks.
    """
    # Read when they start, and when they import torch.
    os.environ.update(ALLOCATOR | os.environ | {"OMP_NUM_THREADS": "1"})
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, context, max_tasks_per_child=rows_each) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
