"""The states of a candidate. Knows neither tables nor who tries it."""

from enum import StrEnum


class CandidateState(StrEnum):
    RUNNING = "running"
    COMPLETE = "complete"
    STOPPED = "stopped"
    FAILED = "failed"
