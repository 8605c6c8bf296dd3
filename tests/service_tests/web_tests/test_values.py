"""The plain values behind the pages."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pareconv.search.spec import JobSpec
from pareconv.service.web import spec_form
from pareconv.service.web.library_map import library_map
from pareconv.service.web.plan_view import plan_view
from pareconv.service.web.prediction_chart import EDGE, HEIGHT, Predicted, prediction_chart
from pareconv.service.web.thinning import front_of, thinned
from pareconv.service.web.timeline import timeline
from pareconv.service.web.translation import Translation
from pareconv.storage.dots import Dot
from pareconv.storage.jobs import JobStatus, Stage

DOT = Dot(0, True, 100.0, 0.5, 0.01, 1, None, False)


def dots(*places):
    return [
        replace(DOT, number=number, cost=cost, accuracy=accuracy)
        for number, (cost, accuracy) in enumerate(places)
    ]


def test_the_front_is_what_nothing_dominates():
    found = front_of(dots((3, 0.9), (1, 0.5), (2, 0.5), (1, 0.4), (3, 0.9), (4, 0.8)))
    assert [dot.number for dot in found] == [1, 0]
    stopped = replace(DOT, is_complete=False, accuracy=0.99)
    assert front_of([stopped, DOT]) == [DOT]


def test_few_are_not_thinned_and_the_front_never():
    few = dots(*((n, n / 1000) for n in range(600)))
    assert thinned(few, set()) == few
    many = [*dots(*((100 + n % 7, 0.5 + (n % 11) / 100) for n in range(9000)))]
    many.append(replace(DOT, number=9000, cost=1.0, accuracy=0.1))
    many.append(replace(DOT, number=9001, cost=100.0, accuracy=0.5, finalist=True))
    shown = thinned(many, {3, 4})
    numbers = {dot.number for dot in shown}
    assert {3, 4, 9000, 9001} <= numbers
    assert len(shown) <= 26 * 18
    assert [dot.number for dot in shown] == sorted(numbers)


def test_a_score_is_translated_by_the_trials():
    known = [
        replace(DOT, predicted=score, accuracy=accuracy)
        for score, accuracy in ((0.1, 0.9), (0.2, 0.8), (0.3, 0.82), (0.4, 0.6))
    ]
    translation = Translation.of(known, 0.95)
    assert translation.accuracy(0) == pytest.approx(0.95)
    assert translation.accuracy(0.2) == translation.accuracy(0.3) == pytest.approx(0.81)
    assert translation.accuracy(0.5) is None
    assert Translation.of(known[:2], 0.95) is None


def test_a_form_and_a_spec_are_one():
    spec = JobSpec.model_validate(
        {
            "name": "x",
            "teacher": {
                "architecture": "cifar_resnet8",
                "normalize": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
                "training": {"epochs": 3},
            },
            "dataset": {"source": "digits", "image_size": 16},
            "budget": {"flops": "40%", "params": 20_000, "accuracy_drop": 1.5}
            | {"latency": {"ms": "60%", "runtime": "torch"}},
            "search": {"trials": 5, "operators": ["svd"], "objectives": ["accuracy", "params"]},
            "finish": {"formats": ["onnx"], "finalists": 0},
        }
    ).to_json()
    values = spec_form.values_of_spec(spec, {"flops": 1000, "params": 100_000})
    assert values["budget.params"] == "20"
    again = JobSpec.model_validate(spec_form.spec_of(values, spec)).to_json()
    assert again["budget"]["params"] == "20%"
    again["budget"]["params"] = 20_000
    assert again == spec


def test_an_empty_form_is_a_spec_of_defaults():
    values = spec_form.values_of_spec({})
    assert spec_form.missing(values) == ["teacher.architecture", "dataset.source"]
    values |= {"teacher.architecture": "cifar_resnet8", "dataset.source": "digits"}
    spec = JobSpec.model_validate(spec_form.spec_of(values))
    least = {"teacher": {"architecture": "cifar_resnet8"}, "dataset": {"source": "digits"}}
    assert spec == JobSpec.model_validate(least | {"budget": {"flops": "50%"}})


@pytest.fixture
def job(seeds_of, stores):
    return seeds_of(stores).searched()


def test_a_plan_adds_up(job, stores):
    plan = {"layer2.0": "svd(ratio=0.5)"}
    view = plan_view(job.profile, plan, stores.libraries.entries(job.library_id), "flops")
    assert [block.option for block in view.blocks] == ["keep", "svd(ratio=0.5)", "keep"]
    assert (view.whole, view.left, view.rest) == (7e6, 6e6, 1e6)
    assert view.blocks[1].score == pytest.approx(0.125)
    assert sum(box.width for box in view.boxes) <= 1000
    old = job.profile | {"blocks": [{"name": b.name, "convs": []} for b in view.blocks]}
    assert plan_view(old, plan, [], "flops").boxes == ()


def test_a_prediction_is_drawn_by_accuracy_where_trials_tell_it():
    plans = [Predicted(0.2, 0.9, None), Predicted(0.4, 0.5, 0.8), Predicted(0.6, 0.1, 0.88)]
    chart = prediction_chart(plans, 0.9)
    assert (chart.highest, chart.lowest, chart.hidden) == ("90.0%", "80.0%", 1)
    (_, low), (_, high) = chart.dots
    assert low == HEIGHT - EDGE
    assert EDGE < high < low

    by_score = prediction_chart([replace(each, accuracy=None) for each in plans], 0.9)
    assert (by_score.highest, by_score.lowest, by_score.hidden) == ("0", "0.9", 0)
    assert [y for _, y in by_score.dots] == sorted((y for _, y in by_score.dots), reverse=True)
    assert "score" in by_score.title
    assert prediction_chart([], None).dots == []


def test_the_map_of_a_library_begins_with_what_most_blocks_have(job, stores):
    library = stores.libraries.get(job.library_id)
    first = stores.libraries.entries(job.library_id)[0]
    places = [("a", "z"), ("b", "z"), ("a", "y"), ("b", "y"), ("a", "b"), ("b", "c")]
    entries = [replace(first, block=block, option=option) for block, option in places]
    assert library_map(library, entries, ["a", "b"], "score").options == ["y", "z", "b", "c"]


def test_a_timeline_tells_how_far_each_stage_is(job):
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    running = replace(
        job, status=JobStatus.RUNNING, stage=Stage.SEARCH, progress=0.5, started_at=begun, claims=1
    )
    seconds = {"queue": 3.0, "profile": 10.0, "library": 30.0, "search": 12.5}
    views = timeline(running, seconds)
    assert [view.state for view in views] == ["done", "done", "running", "waiting"]
    assert [view.seconds for view in views] == [10, 30, 12.5, None]
    assert views[2].done == pytest.approx(0.5)
    failed = replace(running, status=JobStatus.FAILED)
    assert timeline(failed, seconds)[2].state == "stopped"
    assert {view.state for view in timeline(job, {})} == {"done"}
