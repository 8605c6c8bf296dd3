"""The states of a job and which may follow which. Knows neither tables nor who asks.

queued ──> running ──> succeeded, failed
  │          ├──> pausing ──> paused
  │          └──> cancelling ──> cancelled
  └──> paused, cancelled               (paused, failed, cancelled, succeeded ──> queued)
"""

from enum import StrEnum


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Stage(StrEnum):
    PROFILE = "profile"
    LIBRARY = "library"
    SEARCH = "search"
    FINISH = "finish"


TERMINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})

# A worker has such a job in its hands, or had until its lease ran out.
ACTIVE = frozenset({JobStatus.RUNNING, JobStatus.PAUSING, JobStatus.CANCELLING})

RESUMABLE = frozenset({JobStatus.PAUSED, JobStatus.FAILED, JobStatus.CANCELLED})

ALLOWED: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.RUNNING, JobStatus.PAUSED, JobStatus.CANCELLED}),
    JobStatus.RUNNING: frozenset(
        {JobStatus.PAUSING, JobStatus.CANCELLING, JobStatus.SUCCEEDED, JobStatus.FAILED}
    ),
    # The worker may end the job, well or not, before it sees that it should pause.
    JobStatus.PAUSING: frozenset(
        {JobStatus.PAUSED, JobStatus.CANCELLING, JobStatus.SUCCEEDED, JobStatus.FAILED}
    ),
    JobStatus.PAUSED: frozenset({JobStatus.QUEUED, JobStatus.CANCELLED}),
    JobStatus.CANCELLING: frozenset({JobStatus.CANCELLED}),
    JobStatus.SUCCEEDED: frozenset({JobStatus.QUEUED}),
    JobStatus.FAILED: frozenset({JobStatus.QUEUED}),
    JobStatus.CANCELLED: frozenset({JobStatus.QUEUED}),
}

# Asking again for what is already so is no error.
IDEMPOTENT = frozenset(
    {JobStatus.PAUSING, JobStatus.PAUSED, JobStatus.CANCELLING, JobStatus.CANCELLED}
)
