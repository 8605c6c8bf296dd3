"""Fronts that were drawn and are asked for again: many poll the same one, few trials change it."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

_KEPT = 64


@dataclass(slots=True)
class _Front:
    """Of one job over one cost, as it was at a tag or when its drawing `began`, whichever is later.
    Who draws it anew has its `turn`.
    """

    turn: threading.Lock = field(default_factory=threading.Lock)
    tag: str | None = None
    drawn: str = ""
    began: float = 0.0


class Fronts:
    """The last answers, one for each job and cost. A tag stands for all that an answer shows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str], _Front] = OrderedDict()

    def get(self, job_id: str, cost: str, tag: str, draw: Callable[[], str]) -> str:
        """The answer of that tag, or a later one: of many who ask at once one draws it.

        Who waits for his turn takes what was drawn since he asked, whatever its tag. Else a front
        that changes faster than it is drawn would be drawn for each of them.
        """
        asked = time.monotonic()
        with self._lock:
            front = self._known.setdefault((job_id, cost), _Front())
            self._known.move_to_end((job_id, cost))
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        with front.turn:
            if front.tag != tag and front.began < asked:
                began = time.monotonic()
                front.drawn = draw()
                front.tag, front.began = tag, began
            return front.drawn
