"""Fronts that were drawn and are asked for again: many poll the same one, few trials change it."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

_KEPT = 64


@dataclass(slots=True)
class _Front:
    turn: threading.Lock = field(default_factory=threading.Lock)
    drawn: str | None = None


class Fronts:
    """The answers of the last tags. A tag stands for all that its answer shows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Front] = OrderedDict()

    def get(self, tag: str, draw: Callable[[], str]) -> str:
        """The answer of that tag: of many who ask at once one draws it, the others wait."""
        with self._lock:
            front = self._known.setdefault(tag, _Front())
            self._known.move_to_end(tag)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        with front.turn:
            if front.drawn is None:
                front.drawn = draw()
            return front.drawn
