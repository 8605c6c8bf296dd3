"""Presence: a worker's signs of life, for monitoring alone. Its jobs hang on their leases."""

import logging
import socket
import threading
from typing import Self

from pareconv.search.gpus import gpus
from pareconv.storage.errors import StorageError
from pareconv.storage.workers import WorkerStore

logger = logging.getLogger(__name__)

_SECONDS = 15.0


class Presence:
    """While entered, a thread tells every 15 s that the worker lives, and which GPUs it sees."""

    def __init__(self, workers: WorkerStore, owner: str) -> None:
        self._workers = workers
        self._owner = owner
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True, name="presence")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()

    def _tell(self) -> None:
        host = socket.gethostname()
        while True:
            try:
                self._workers.saw(self._owner, host=host, gpus=gpus())
                if self._left.wait(_SECONDS):
                    self._workers.left(self._owner)
                    return
            except StorageError as error:  # the database is away; it is told later
                logger.warning("no sign of life: %s", error)
                if self._left.wait(_SECONDS):
                    return
