"""When a stage and its job should be done."""

from datetime import UTC, datetime

import pytest

from pareconv.search import eta
from pareconv.search.eta import Eta


@pytest.fixture
def clock(monkeypatch):
    """Seconds, as the caller sets them."""
    seconds = [100.0]
    monkeypatch.setattr(eta.time, "monotonic", lambda: seconds[0])
    return seconds


def left(moment):
    return (moment - datetime.now(UTC)).total_seconds()


def test_nothing_is_told_before_something_is_done(clock):
    told = Eta()
    told.begin(0.0)
    clock[0] += 5
    assert told.moments(0.0, 30.0) == {"stage_eta": None, "eta": None}


def test_a_stage_goes_on_at_its_pace_and_what_comes_later_is_added(clock):
    told = Eta()
    told.begin(0.0)
    clock[0] += 10
    moments = told.moments(0.25, 60.0)
    assert left(moments["stage_eta"]) == pytest.approx(30, abs=1)
    assert left(moments["eta"]) == pytest.approx(90, abs=1)
    assert told.moments(0.25, None)["eta"] is None


def test_what_comes_before_the_first_that_is_done_says_nothing_of_the_pace(clock):
    told = Eta()
    told.begin(0.0)
    clock[0] += 60  # images are loaded
    told.moments(0.0, None)
    clock[0] += 10
    assert left(told.moments(0.25, None)["stage_eta"]) == pytest.approx(30, abs=1)


def test_what_an_earlier_worker_did_says_nothing_of_the_pace(clock):
    told = Eta()
    told.begin(0.5)
    clock[0] += 10
    assert left(told.moments(0.6, 0.0)["stage_eta"]) == pytest.approx(40, abs=1)


def test_a_stage_that_is_done_has_nothing_left(clock):
    told = Eta()
    told.begin(0.0)
    clock[0] += 10
    assert left(told.moments(1.0, 0.0)["eta"]) == pytest.approx(0, abs=1)
