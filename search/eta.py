"""The eta: when the stage that runs and the whole job should be done, by the pace so far."""

import time
from datetime import UTC, datetime, timedelta
from typing import TypedDict


class Moments(TypedDict):
    """None where it cannot be told yet."""

    stage_eta: datetime | None
    eta: datetime | None


class Eta:
    """Of the stage that a worker is at. What an earlier worker did of it does not count: it may
    have been faster.
    """

    def __init__(self) -> None:
        self.begin(0.0)

    def begin(self, done: float) -> None:
        """A stage begins, of which the share `done` is there already."""
        self._at, self._done = time.monotonic(), done

    def moments(self, done: float, later_s: float | None) -> Moments:
        """`later_s` is what the stages after this one should take, in seconds. What comes before
        the first that is done, such as loading images, says nothing of the pace.
        """
        gained = done - self._done
        if gained <= 0:
            self._at = time.monotonic()
            return {"stage_eta": None, "eta": None}
        left = (time.monotonic() - self._at) * max(0.0, 1 - done) / gained
        return {
            "stage_eta": _after(left),
            "eta": None if later_s is None else _after(left + later_s),
        }


def _after(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)
