"""What a library is asked to build. No torch: it crosses from the coordinator to the task."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wanted:
    """One option of one block and how far it has come: nowhere, where it has no `weights` yet."""

    block: str
    option: str
    rungs: int = 0
    images: int = 0
    weights: str | None = None
