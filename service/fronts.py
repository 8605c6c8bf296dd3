"""Fronts that were drawn and are asked for again: many poll the same one, few trials change it."""

import threading
from collections import OrderedDict
from collections.abc import Callable

_KEPT = 64


class Fronts:
    """The answers of the last tags. A tag stands for all that its answer shows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, str] = OrderedDict()

    def get(self, tag: str, draw: Callable[[], str]) -> str:
        """The answer of that tag, drawn where it is not known; by several at once, if need be."""
        with self._lock:
            if tag in self._known:
                self._known.move_to_end(tag)
                return self._known[tag]
        drawn = draw()
        with self._lock:
            self._known[tag] = drawn
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return drawn
