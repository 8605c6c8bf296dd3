"""Fronts that were drawn: once for all who ask at a tag, and the last alone is kept."""

import threading
import types
from concurrent.futures import ThreadPoolExecutor

import pytest

from pareconv.service import fronts as fronts_module
from pareconv.service.fronts import Fronts


@pytest.fixture
def drawn():
    return []


@pytest.fixture
def get(drawn):
    fronts = Fronts()

    def get(job, tag, cost="flops"):
        def draw():
            drawn.append((job, cost, tag))
            return f"{job} over {cost} at {tag}"

        return fronts.get(job, cost, tag, draw)

    return get


def test_a_front_is_drawn_again_when_its_tag_changes(get, drawn):
    answers = [get("a", tag) for tag in ("1", "1", "2", "2")]
    assert answers == ["a over flops at 1"] * 2 + ["a over flops at 2"] * 2
    assert len(drawn) == 2


def test_jobs_and_costs_have_fronts_of_their_own(get, drawn):
    for _ in range(2):
        assert get("a", "1") == "a over flops at 1"
        assert get("a", "1", "params") == "a over params at 1"
        assert get("b", "1") == "b over flops at 1"
    assert len(drawn) == 3


def test_of_many_who_ask_at_once_one_draws(drawn):
    fronts, gate = Fronts(), threading.Barrier(4)

    def draw():
        drawn.append(1)
        return "front"

    def ask(_):
        gate.wait()
        return fronts.get("a", "flops", "1", draw)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == ["front"] * 4
    assert drawn == [1]


def test_who_waited_takes_what_was_drawn_since_he_asked(get, drawn, monkeypatch):
    """A front that changes faster than it is drawn is not drawn for each who asks."""
    clock = iter([10, 11, 5, 20, 21])  # asked, began; asked; asked, began
    monkeypatch.setattr(fronts_module, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    assert get("a", "2") == "a over flops at 2"
    assert get("a", "1") == "a over flops at 2"
    assert get("a", "3") == "a over flops at 3"
    assert len(drawn) == 2


def test_one_that_could_not_be_drawn_is_drawn_by_the_next():
    fronts = Fronts()
    with pytest.raises(ZeroDivisionError):
        fronts.get("a", "flops", "1", lambda: str(1 / 0))
    assert fronts.get("a", "flops", "1", lambda: "front") == "front"


def test_those_that_nobody_asked_for_lately_are_dropped(get, drawn, monkeypatch):
    monkeypatch.setattr(fronts_module, "_KEPT", 2)
    for job in "abac":
        get(job, "1")
    get("a", "1")
    get("b", "1")
    assert [job for job, *_ in drawn] == ["a", "b", "c", "b"]
