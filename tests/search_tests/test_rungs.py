import pytest

from pareconv.search.rungs import Bars, Rung, beaten

NOISE = 0.01


def rungs(*accuracies):
    return [Rung(100 * (n + 1), accuracy, NOISE) for n, accuracy in enumerate(accuracies)]


def best_rungs(rivals, cost=10):
    """Of rivals that cost that, and of one that is better and costs more."""
    bars = Bars()
    bars.put(cost + 1, rungs(0.99, 0.99, 0.99))
    for rival in rivals:
        bars.put(cost, rival)
    return bars.at(cost)


def test_the_best_at_each_rung_is_that_of_any_rival():
    assert best_rungs([rungs(0.5, 0.8), rungs(0.6, 0.7), rungs(0.4)]) == [
        Rung(100, 0.6, NOISE),
        Rung(200, 0.8, NOISE),
    ]


def test_rivals_reach_as_far_as_the_furthest():
    assert best_rungs([rungs(0.5), [], rungs(0.4, 0.45, 0.48)]) == [
        Rung(100, 0.5, NOISE),
        Rung(200, 0.45, NOISE),
        Rung(300, 0.48, NOISE),
    ]


@pytest.mark.parametrize("rivals", [[], [[]]])
def test_without_rivals_there_is_no_bar_and_nothing_is_beaten(rivals):
    assert best_rungs(rivals) == []
    assert beaten(rungs(0.1), best_rungs(rivals)) is None


@pytest.mark.parametrize(
    ("own", "best", "is_beaten"),
    [
        (0.80, 0.79, False),
        (0.80, 0.80, False),
        (0.80, 0.82, False),  # within two standard errors of the difference, 0.0283
        (0.80, 0.83, True),
        (0.10, 0.95, True),
    ],
)
def test_only_what_is_worse_beyond_the_noise_of_both_is_beaten(own, best, is_beaten):
    assert (beaten(rungs(own), rungs(best)) is not None) is is_beaten


def test_the_noise_of_the_rival_counts_too():
    sure, unsure = [Rung(100, 0.85, 0.0)], [Rung(100, 0.85, 0.04)]
    assert beaten(rungs(0.8), sure) is not None
    assert beaten(rungs(0.8), unsure) is None


def test_like_is_compared_with_like():
    bar = rungs(0.5, 0.9)
    assert beaten(rungs(0.49), bar) is None
    assert beaten(rungs(0.49, 0.6), bar) is not None
    assert beaten(rungs(0.2, 0.9), bar) is None  # it has caught up


def test_who_came_further_than_all_others_is_not_beaten():
    assert beaten(rungs(0.5, 0.1), rungs(0.9)) is None


def test_the_reason_tells_both_accuracies_and_when():
    reason = beaten(rungs(0.5, 0.6123), rungs(0.7, 0.9))
    assert "200 images" in reason
    assert "accuracy 61.2%" in reason
    assert "90.0% was reached" in reason


def test_a_rung_survives_json():
    (rung,) = rungs(0.7)
    told = {"images": rung.images, "accuracy": rung.accuracy, "stderr": rung.stderr}
    assert Rung.from_json(told) == rung
