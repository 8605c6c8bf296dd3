"""Logs: how every process of ours writes what it does to stderr, as text or as JSON lines, and what
it was about: a job, a trial, a request. Knows nothing of who logs.
"""

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

_about: ContextVar[dict[str, str | int] | None] = ContextVar("pareconv_about", default=None)


def subject() -> dict[str, str | int]:
    """What is logged here is about: of `job`, `trial` and `request_id` those that are known."""
    return dict(_about.get() or {})


@contextmanager
def about(**known: str | int | None) -> Iterator[None]:
    """While entered, what is logged in this thread or task is about these too."""
    given = {name: value for name, value in known.items() if value is not None}
    token = _about.set(subject() | given)
    try:
        yield
    finally:
        _about.reset(token)


def set_up(format: LogFormat, level: LogLevel) -> None:
    """Write the log of this process to stderr: ours from `level` on, and what libraries warn of."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if format == "json" else Text())
    number = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))
    logging.getLogger("pareconv").setLevel(number)
    logging.getLogger("uvicorn").setLevel(max(number, logging.INFO))  # where it listens
    # Said by itself, a warning is a line that no reader of JSON understands.
    logging.captureWarnings(True)
    warnings.formatwarning = _one_line


class JsonLines(logging.Formatter):
    """One JSON object per line: `time` (UTC), `level`, `logger`, `message`, `process`; the `job`,
    `trial` and `request_id` that it is about; `exception`, with its traceback.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            **subject(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class Text(logging.Formatter):
    """A line for people: time, level, logger, message, and in brackets what it is about."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s%(about)s")

    def format(self, record: logging.LogRecord) -> str:
        known = " ".join(f"{name}={value}" for name, value in subject().items())
        record.about = f" [{known}]" if known else ""
        return super().format(record)


def _one_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,  # noqa: ARG001 - the signature is Python's
) -> str:
    return f"{filename}:{lineno}: {category.__name__}: {message}"
