"""What can go wrong for a client. Knows no HTTP library.

ClientError
├── ProblemError        the server refused the request and says why
├── ServerUnreachable   nothing answers there, or the connection was lost
└── DamagedDownload     the bytes that arrived are not the ones that were stored
"""

from typing import Any

# What a proxy, or a server that is starting, answers for a moment.
PASSING = frozenset({502, 503, 504})


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


def is_passing(error: ClientError) -> bool:
    """Whether the same request may well work a little later."""
    if isinstance(error, ProblemError):
        return error.status in PASSING
    return isinstance(error, ServerUnreachable)
