"""What can go wrong for a client. Knows no HTTP library.

ClientError
├── ProblemError        the server refused the request and says why
├── ServerUnreachable   nothing answers there, or the connection was lost
├── DamagedDownload     the bytes that arrived are not the ones that were stored
├── UnknownAnswer       what answers there is not understood: no Pareconv, or another version
├── InvalidId           what was given as an id can be none
├── NoSuchFile          nothing that was asked for is there to download
└── JobEnded            a job that was waited for failed or was cancelled
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pareconv.storage.job_states import JobStatus

if TYPE_CHECKING:
    from pareconv.service.remote.job import Job

# What a proxy, a server that is starting, or one that is asked too often answers for a moment.
PASSING = frozenset({429, 502, 503, 504})


class ClientError(Exception):
    """A request did not get what it asked for."""


class ProblemError(ClientError):
    """The server's problem (RFC 9457); `errors` are `{"field", "message"}` of fields at fault."""

    def __init__(self, status: int, title: str, detail: str, errors: list[dict[str, Any]]) -> None:
        super().__init__(f"{title}: {detail}" if detail else title)
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = errors


class ServerUnreachable(ClientError):
    """No server answers at that URL, or its connection was lost."""

    def __init__(self, url: str, reason: str = "") -> None:
        because = f" ({reason})" if reason else ""
        super().__init__(
            f"no server answers at {url}{because}; start one with `pareconv serve`, "
            "or name another with --server or PARECONV_SERVER"
        )
        self.url = url


class DamagedDownload(ClientError):
    """A download's hash differs from the one that the server names; nothing of it was kept."""

    def __init__(self, name: str, *, expected: str | None, found: str) -> None:
        super().__init__(
            f"{name} arrived with the SHA-256 {found}, the server names {expected}; "
            "nothing was kept, download it again"
        )
        self.expected = expected
        self.found = found


class UnknownAnswer(ClientError):
    """A server answered well, but not with what it should."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the answer is not understood ({reason}); is that a Pareconv server, and of this "
            "version? GET /version tells"
        )


class InvalidId(ClientError, ValueError):
    """An id would lead to another address than its own."""

    def __init__(self, id: str) -> None:
        super().__init__(f"{id!r} is no id; the lists of jobs, libraries and uploads have them")


class NoSuchFile(ClientError):
    """A job has no file of that trial and format."""

    def __init__(self, job: str, files: Sequence[str]) -> None:
        super().__init__(
            f"job {job} has no file yet"
            if not files
            else f"job {job} has no such file; it has: {', '.join(files)}"
        )


class JobEnded(ClientError):
    """A job ended otherwise than well; `job` is how."""

    def __init__(self, job: "Job") -> None:
        goes_on = f"go on with `pareconv resume {job.id}`"
        if job.status is JobStatus.FAILED:
            error = job.error or {}
            reason = error.get("detail") or error.get("title") or "no reason was recorded"
            remedy = f"after a repair {goes_on}"
            if error.get("errors"):  # of fields of the spec, which a job keeps
                remedy = "submit it again with another spec"
            super().__init__(f"job {job.id} failed in {job.stage}: {reason}; {remedy}")
        else:
            super().__init__(f"job {job.id} was {job.status}; {goes_on}")
        self.job = job


def is_passing(error: ClientError) -> bool:
    """Whether the same request may well work a little later."""
    if isinstance(error, ProblemError):
        return error.status in PASSING
    return isinstance(error, ServerUnreachable)
