"""The log of a process: lines for people or for programs, and what they are about."""

import json
import subprocess
import sys
import threading

import pytest

from pareconv.storage import logs

PROGRAM = """
import logging, warnings
from pareconv.storage import logs

logs.set_up({format!r}, {level!r})
ours, theirs = logging.getLogger("pareconv.search.x"), logging.getLogger("library")
with logs.about(job="j1", trial=None):
    ours.info("claimed %d", 1)
    with logs.about(trial=3):
        ours.warning("of one\\ntrial", extra={{"fields": {{"status": 200}}}})
ours.debug("detail")
theirs.info("detail of theirs")
theirs.warning("a word of theirs")
warnings.warn("old", stacklevel=1)
try:
    1 / 0
except ZeroDivisionError:
    ours.exception("it failed")
"""


def written(format, level="info"):
    """The lines that a process of its own writes."""
    program = [sys.executable, "-c", PROGRAM.format(format=format, level=level)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_every_line_is_an_object_that_says_what_it_is_about():
    lines = [json.loads(line) for line in written("json")]
    first, second, theirs, warning, failure = lines
    assert (first["message"], first["job"], "trial" in first) == ("claimed 1", "j1", False)
    assert (first["level"], first["logger"]) == ("info", "pareconv.search.x")
    assert first["time"].endswith("+00:00")
    assert (second["message"], second["trial"], second["status"]) == ("of one\ntrial", 3, 200)
    assert theirs["message"] == "a word of theirs"
    assert "job" not in theirs
    assert "UserWarning: old" in warning["message"]
    assert "ZeroDivisionError" in failure["exception"]


def test_for_people_the_same_stands_in_brackets():
    lines = written("text")
    assert lines[0].endswith("INFO pareconv.search.x: claimed 1 [job=j1]")
    assert any(line.endswith("[job=j1 trial=3]") for line in lines)


@pytest.mark.parametrize(
    ("level", "shown"),
    [("debug", {"debug", "info", "warning", "error"}), ("warning", {"warning", "error"})],
)
def test_the_level_is_the_least_that_is_shown(level, shown):
    lines = [json.loads(line) for line in written("json", level)]
    assert {line["level"] for line in lines} == shown
    assert "detail of theirs" not in {line["message"] for line in lines}


def test_what_it_is_about_ends_with_its_block_and_stays_in_its_thread():
    seen = []
    with logs.about(job="a"):
        with logs.about(job="b", request_id="r"):
            assert logs.subject() == {"job": "b", "request_id": "r"}
        assert logs.subject() == {"job": "a"}
        thread = threading.Thread(target=lambda: seen.append(logs.subject()))
        thread.start()
        thread.join()
    assert logs.subject() == {}
    assert seen == [{}]
