"""What `compress` tells where there is no terminal."""

import io

import pytest
from rich.console import Console

from pareconv.search import watching
from pareconv.search.watching import Lines


@pytest.fixture
def written():
    return io.StringIO()


@pytest.fixture
def lines(written):
    return Lines(Console(file=written))


def test_what_happens_is_a_line_with_the_share_done_and_the_best_so_far(lines, written):
    lines.advance("search", 0.5)
    lines.tell("trial 0", 0.9)
    lines.tell("trial 1", 0.8)
    lines.tell("job succeeded", None)

    expected = [" 50% trial 0; best 90.0%", " 50% trial 1; best 90.0%", " 50% job succeeded"]
    assert written.getvalue().splitlines() == expected


def test_a_long_stage_tells_how_far_it_is(lines, written, monkeypatch):
    lines.advance("library", 0.1)
    assert written.getvalue() == ""

    monkeypatch.setattr(watching, "_QUIET_SECONDS", 0.0)
    lines.advance("library", 0.2)
    assert written.getvalue() == " 20% at work on its stage library\n"
