"""The limit of requests: a bucket of tokens for each who asks, in this process. Knows no HTTP."""

import math
import threading
import time
from collections.abc import Callable

from pareconv.service.errors import TooManyRequests

# Who asks from so many addresses at a time makes buckets that are full again be forgotten.
_MANY = 10_000


class RequestLimit:
    """So many requests a minute for each, all at once or one by one. Threads may share it.

    A bucket holds `per_minute` and fills evenly; None limits nothing.
    """

    def __init__(self, per_minute: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._lock = threading.Lock()
        # When each bucket will be full again: what is missing from it is the time until then.
        self._full_at: dict[str, float] = {}

    def take(self, who: str) -> None:
        """Count a request; TooManyRequests, which says how long to wait, where it is one more."""
        if self._per_minute is None:
            return
        one = 60 / self._per_minute
        with self._lock:
            now = self._clock()
            self._forget(now)
            full_at = max(self._full_at.get(who, now), now) + one
            wait = full_at - now - 60
            if wait > 1e-9:
                raise TooManyRequests(self._per_minute, math.ceil(wait))
            self._full_at[who] = full_at

    def _forget(self, now: float) -> None:
        if len(self._full_at) > _MANY:
            self._full_at = {who: at for who, at in self._full_at.items() if at > now}
