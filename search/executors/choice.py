"""The executor that the settings ask for."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

from pareconv.search.executors.local import Local
from pareconv.search.executors.settings import ExecutorSettings
from pareconv.search.executors.slots import slot_environments, visible_gpus
from pareconv.storage.settings import Settings

if TYPE_CHECKING:
    from pareconv.search.run import Executor


@contextmanager
def chosen(settings: ExecutorSettings, places: Settings) -> "Iterator[Executor]":
    """Open while entered; `places` are where its tasks find and leave things.

    Raises NoExecutor where Ray is asked for and is not there.
    """
    if settings.executor == "ray":
        from pareconv.search.executors.ray import Ray  # an extra: not everybody has it

        with Ray(settings, places.environment()) as ray:
            yield ray
        return
    slots = slot_environments(settings.count, visible_gpus())
    environments = [places.environment() | slot for slot in slots]
    # More than the machine has fails as an allocation, in the task, before the kernel kills anyone.
    memory = psutil.virtual_memory().total
    with Local(environments, memory_bytes=memory) as local:
        yield local
