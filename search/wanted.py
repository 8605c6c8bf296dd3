"""What a library is asked to build. No torch: it crosses from the coordinator to the task."""

from dataclasses import dataclass

DIVERGED = 1e9  # stands in an entry for a loss that is no number any more


@dataclass(frozen=True, slots=True)
class Wanted:
    """One option of one block and how far it has come: nowhere, where it has no `weights` yet."""

    block: str
    option: str
    rungs: int = 0
    images: int = 0
    weights: str | None = None
