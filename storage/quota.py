"""The quota: how many bytes a deployment may store. Counts what is there, whoever put it there."""

import threading
import time
from collections.abc import Callable

from pareconv.storage.errors import QuotaReached

# Counting lists every file. Others store too meanwhile: by what they do in so many seconds the
# quota can be passed.
_SECONDS = 60.0


class Quota:
    """At most `limit_bytes`, of which `measure` says how many are taken. Threads may share it."""

    def __init__(self, limit_bytes: int, measure: Callable[[], int]) -> None:
        self._limit = limit_bytes
        self._measure = measure
        self._used = 0
        self._measured_at: float | None = None
        self._lock = threading.Lock()

    def take(self, size_bytes: int) -> None:
        """Count a file that is about to be stored; QuotaReached where there is no room for it."""
        with self._lock:
            now = time.monotonic()
            is_stale = self._measured_at is None or now - self._measured_at > _SECONDS
            # Before anything is refused it is counted anew: somebody may have made room.
            if is_stale or self._used + size_bytes > self._limit:
                self._used, self._measured_at = self._measure(), now
            if self._used + size_bytes > self._limit:
                raise QuotaReached(
                    f"the stored files take {self._used:,} of {self._limit:,} bytes, and one of "
                    f"{size_bytes:,} more does not fit; delete jobs, libraries or uploads that are "
                    "not needed any more and run `pareconv gc`, or raise PARECONV_QUOTA_BYTES"
                )
            self._used += size_bytes
