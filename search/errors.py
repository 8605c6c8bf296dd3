"""What can go wrong while a job is checked or run. Knows no torch, so that the service can read it.

SearchError
├── InvalidSpec     a field of the job spec that cannot work: refused at submission
├── JobFailed       the job cannot go on; its message is what the user reads
├── Diverged        training produced a loss that is not finite
├── NoExecutor      what the settings ask tasks to be run by is not there
└── TaskFailed      a task in a child process did not end well
    ├── TaskDied    its process was killed or crashed
    ├── OutOfMemory an allocation failed in it
    └── TaskTimeout it ran past its time limit
"""


class SearchError(Exception):
    """A job, or a part of one, cannot be done."""


class InvalidSpec(SearchError):
    """One field of the spec cannot work. `field` is its dotted path, as in `teacher.weights`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, message)
        self.field = field
        self.message = message

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class JobFailed(SearchError):
    """The job cannot go on; `/resume` goes on after a repair."""


class Diverged(SearchError):
    """The training loss is no longer finite. `compute` was spent until then, in forward passes of
    one image through the teacher.
    """

    def __init__(self, message: str, compute: float = 0.0) -> None:
        super().__init__(message, compute)
        self.message = message
        self.compute = compute

    def __str__(self) -> str:
        return self.message


class NoExecutor(SearchError):
    """What the settings ask tasks to be run by is not there."""


class TaskFailed(SearchError):
    """A task in a child process did not end well."""


class TaskDied(TaskFailed):
    """The child process was killed or crashed."""


class OutOfMemory(TaskFailed):
    """An allocation failed inside the task."""


class TaskTimeout(TaskFailed):
    """The task ran past its time limit and its process was killed."""
