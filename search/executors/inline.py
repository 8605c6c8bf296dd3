"""Tasks in this process: for tests and `compress`.

Nothing can be killed; `poll` is asked at every event.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pareconv.search.executors.outcome import Message
from pareconv.search.tasks import TASKS


class Inline:
    """The same calls as `Child`, without a process."""

    slots = 1

    def call(
        self,
        task: str,
        payload: Mapping[str, Any],
        *,
        timeout_seconds: float | None = None,
        on_event: Callable[[Message], None] | None = None,
        poll: Callable[[], None] | None = None,
    ) -> Message:
        def emit(event: Message) -> None:
            if poll is not None:
                poll()
            if on_event is not None:
                on_event(event)

        return TASKS[task](dict(payload), emit)

    def close(self) -> None:
        """Nothing to stop."""
