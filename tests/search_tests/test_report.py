"""The report: one page of its own that says what its facts say, whatever stands in them."""

import re
from datetime import UTC, datetime

import pytest

from pareconv.search.report.facts import ReportFacts
from pareconv.search.report.page import render
from pareconv.search.spec import JobSpec

HOSTILE = "<script>alert('x')</script><img src=http://evil.example/x onerror=alert(1)> & \"quoted\""
SPEC = {
    "name": "pets",
    "teacher": {
        "architecture": "cifar_resnet8",
        "normalize": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
    },
    "dataset": {"source": "dataset:81aa", "image_size": 32},
    "budget": {"flops": "50%"},
    "seed": 7,
}


def cost(flops, params=100, adds=0, latency_ms=None):
    return {"flops": flops, "params": params, "adds": adds, "latency_ms": latency_ms}


def trial(number, flops, accuracy, **changes):
    values = {"trial": number, "cost": cost(flops), "accuracy": accuracy}
    return values | {"predicted": 1 - accuracy, "on_front": False} | changes


FACTS = {
    "job": "1m3q",
    "name": "pets",
    "trial": 2,
    "written_at": datetime(2026, 11, 20, 19, 12, tzinfo=UTC),
    "spec": JobSpec.model_validate(SPEC).to_json(),
    "limits": {"flops": 500_000, "params": None},
    "teacher": {"cost": cost(1_000_000, 900), "accuracy": 0.95, "test_accuracy": 0.91},
    "student": {
        "cost": cost(400_000, 300),
        "accuracy": 0.9,
        "accuracy_stderr": 0.012,
        "evaluations": 2,
        "finish_accuracy": 0.93,
        "test_accuracy": 0.895,
    },
    "trials": [
        trial(0, 200_000, 0.8, on_front=True),
        trial(1, 450_000, 0.7),
        trial(2, 400_000, 0.9, on_front=True),
        trial(3, 480_000, 0.85, predicted=0.01),
    ],
    "untold": 3,
    "blocks": [
        {
            "name": "layer1.0",
            "option": "svd(ratio=0.5)",
            "before": cost(700_000, 600),
            "after": cost(100_000, 50),
            "rebuilt": [
                {"name": "c", "inputs": 16, "outputs": 32, "kernel": [3, 3], "stride": [2, 2]}
            ],
        },
        {
            "name": "layer2.0",
            "option": "keep",
            "before": cost(200_000, 200),
            "after": cost(200_000, 200),
            "rebuilt": [],
        },
    ],
    "operators": {"teacher": {"conv": 950_000, "linear": 50_000}, "student": {"conv": 400_000}},
    "classes": ["cat", "dog", "eel"],
    "images": {"train": 8000, "validation": 1000, "test": 200},
    "confusion": [(0, 0, 60), (0, 1, 7), (1, 1, 66), (2, 2, 53), (2, 0, 14)],
    "latency": [],
    "curve": {"loss": [(0.5, 2.0), (1.0, 1.0)], "accuracy": [(0.0, 0.9), (0.8, 0.93), (1.0, 0.92)]},
    "files": [
        {
            "format": "onnx",
            "filename": "1m3q-2.onnx",
            "sha256": "a" * 64,
            "size_bytes": 620_000,
            "difference": 2.4e-7,
        },
        {
            "format": "onnx-int8",
            "filename": "1m3q-2.int8.onnx",
            "sha256": "b" * 64,
            "size_bytes": 200_000,
            "accuracy": 0.925,
            "test_accuracy": 0.885,
        },
    ],
    "refused": [],
    "versions": {"pareconv": "0.1.0", "torch": "2.15.0"},
    "device": "a machine",
    "data": "d" * 64,
    "weights": "e" * 64,
}


def html(**changes):
    return render(ReportFacts.model_validate(FACTS | changes))


@pytest.fixture
def page(page_of):
    """The page of the facts, some of them changed."""
    return lambda **changes: page_of(html(**changes))


def test_it_tells_accuracy_and_cost_against_the_teacher(page):
    shown = page()
    assert shown.section("test-accuracy") == "89.5% teacher 91.0%, \N{MINUS SIGN}1.5 points"
    told = shown.section("accuracy")
    for words in ("90.0% ± 1.2", "93.0%", "89.5%", "92.5%", "88.5%", "mean of 2 seeds"):
        assert words in told
    assert "40% of 1.00M" in shown.text.replace("\N{NO-BREAK SPACE}", " ")


def test_the_front_shows_every_trial_the_teacher_and_the_budget(page):
    shown = page()
    assert (shown.count("circle", "trial"), shown.count("polyline", "front")) == (3 + 2, 1)
    assert shown.count("circle", "front") == 2
    assert (shown.count("circle", "teacher"), shown.count("line", "limit")) == (1, 1)
    told = shown.section("front")
    assert "budget 500k" in told
    assert "Trial 1: 70.0%, 450k FLOPs" in told
    assert "Trial 2, finished: 93.0%, 400k FLOPs" in told
    assert "4 plans were trained" in told
    assert "3 more were stopped early or failed" in told


def test_marks_stand_where_their_numbers_say(page):
    """Further right is dearer, higher up is more accurate."""
    circles = [
        (attrs["class"], float(attrs["cx"]), float(attrs["cy"]))
        for tag, attrs in page().tags
        if tag == "circle"
    ][:6]
    (teacher,) = [place for kind, *place in circles if kind == "teacher"]
    (chosen,) = [place for kind, *place in circles if kind == "chosen"]
    others = [place for kind, *place in circles if kind in {"trial", "front"}]
    assert all(x < teacher[0] and y > teacher[1] for x, y in [chosen, *others])
    assert all(y > chosen[1] for _, y in others)


def test_the_prediction_is_ranked_against_what_was_measured(page):
    """Losses of 0.2, 0.3, 0.1 and 0.01 against 0.8, 0.7, 0.9 and 0.85: two are swapped."""
    assert float(page().section("rank-correlation")) == pytest.approx(0.8)


def test_the_plan_is_shown_block_by_block(page):
    told = page().section("plan")
    assert (
        "layer1.0 svd(ratio=0.5) 3\N{MULTIPLICATION SIGN}3, 16→32, stride 2 700k 100k 600 50"
        in told
    )
    assert "layer2.0 kept 200k 200k 200 200" in told
    assert "The whole network 1.00M 400k 900 300" in told


def test_cost_is_broken_down_by_kind(page):
    told = page().section("cost")
    assert "conv 950k 400k 42% linear 50.0k 0 0%" in told
    assert "adder" not in told
    student = FACTS["student"] | {"cost": cost(400_000, adds=30_000)}
    assert "additions of adder layers 0 30.0k" in page(student=student).section("cost")


def test_classes_that_no_image_tests_are_told(page):
    assert "No test image is of" not in page().text
    told = page(confusion=[(0, 0, 60)]).section("confusion")
    assert "No test image is of dog, eel: the test accuracies say nothing of them" in told


def test_confusion_is_a_matrix_with_the_most_frequent_mistakes(page):
    told = page().section("confusion")
    assert "cat 60 7 dog 66 eel 14 53" in told
    assert "eel cat 14 21% cat dog 7 10%" in told


def test_of_many_classes_only_mistakes_are_shown(page):
    shown = page(classes=[f"class {number}" for number in range(200)])
    assert shown.count("table", "matrix") == 0
    assert "class 2 class 0 14 21%" in shown.section("confusion")


def test_latency_is_shown_where_it_was_measured(page):
    assert "latency" not in page().by_id
    measured = {"runtime": "onnxruntime", "batch": 1, "threads": 2}
    measured |= {"teacher_ms": 2.0, "student_ms": 1.2, "spread": 0.1}
    assert "onnxruntime 1 2 2 1.2 ± 0.05 60% 40%" in page(latency=[measured]).section("latency")


ON_A_DEVICE = {
    "spec": JobSpec.model_validate(
        SPEC
        | {
            "budget": {"latency": {"ms": "60%"}},
            "search": {"objectives": ["accuracy", "latency"]},
        }
    ).to_json(),
    "limits": {"latency_ms": 2.4},
    "teacher": FACTS["teacher"] | {"cost": cost(1_000_000, 900, latency_ms=4.0)},
    "student": FACTS["student"] | {"cost": cost(400_000, 300, latency_ms=2.2)},
    "trials": [
        trial(0, 200_000, 0.8, on_front=True, cost=cost(200_000, latency_ms=2.3)),
        trial(1, 450_000, 0.7, cost=cost(450_000, latency_ms=2.35)),
        trial(2, 400_000, 0.9, on_front=True, cost=cost(400_000, latency_ms=2.2)),
    ],
    "blocks": [
        FACTS["blocks"][0] | {"saved_ms": 0.2},
        FACTS["blocks"][0]
        | {"name": "layer3.0", "before": cost(150_000), "after": cost(50_000), "saved_ms": 0.4},
        FACTS["blocks"][1] | {"saved_ms": 0.0},
    ],
    "latency": [
        {"runtime": "onnxruntime", "batch": 1, "threads": 2, "teacher_ms": 4.0, "student_ms": 2.4}
    ],
}


def test_a_front_over_latency_is_drawn_over_it(page):
    shown = page(**ON_A_DEVICE)
    told = shown.section("front")
    assert "Trial 1: 70.0%, 2.35 ms of predicted latency" in told
    assert "Trial 2, finished: 93.0%, 2.2 ms" in told
    assert "budget 2.4" in told
    other, *front = [
        float(attrs["cx"])
        for tag, attrs in shown.tags
        if tag == "circle" and attrs["class"] in {"trial", "front"}
    ][:3]
    assert front == sorted(front)
    assert other > max(front)
    assert "2.4 ms" in shown.section("provenance")


def test_it_says_where_flops_and_latency_disagree(page):
    shown = page(**ON_A_DEVICE)
    assert shown.section("predicted-latency") == "2.2 ms, 55%"
    rows = shown.section("disagreements")
    first, second = rows.index("layer1.0"), rows.index("layer3.0")
    assert first < second
    assert "svd(ratio=0.5) 60.0% 5.0% \N{MINUS SIGN}55.0" in rows
    assert "10.0% 10.0% ±0.0" in rows
    assert "layer2.0" not in rows  # kept: it saves nothing
    assert float(shown.section("agreement")) == pytest.approx(0.5)
    assert "disagreements" not in page(latency=ON_A_DEVICE["latency"]).by_id


def test_the_best_look_at_the_validation_split_is_marked(page):
    shown = page()
    assert shown.count("circle", "exam") == 2
    assert "After 80.0%: 93.0%" in shown.section("training")


def test_every_file_has_its_hash_and_the_lines_that_run_it(page):
    shown = page()
    told = shown.section("files")
    assert "onnx 1m3q-2.onnx 620kB outputs differ by 2.4e-07 " + "a" * 64 in told
    assert "onnx-int8 1m3q-2.int8.onnx 200kB test accuracy 88.5% " + "b" * 64 in told
    runs = {id.removeprefix("run-") for id in shown.by_id if id.startswith("run-")}
    assert runs == {"image", "onnx", "onnx-int8"}
    for id in runs:
        compile(shown.by_id[f"run-{id}"], id, "exec")


def test_a_file_that_was_not_made_is_named_with_the_reason(page):
    refused = [{"format": "onnx-int8", "reason": "onnx-int8: it fell to chance"}]
    assert "Not made: onnx-int8: it fell to chance" in page(refused=refused).section("files")


def test_its_origin_can_be_traced(page):
    told = page().section("provenance")
    for words in ("1m3q", "d" * 64, "e" * 64, "torch 2.15.0", "a machine", "500k FLOPs"):
        assert words in told
    assert '"seed": 7' in told
    assert "Its images" not in told
    guessed = page(normalized="normalised by own: own 91.8%, cifar10 90.2%")
    assert "normalised by own: own 91.8%, cifar10 90.2%" in guessed.section("provenance")


def test_it_asks_the_network_for_nothing(page):
    text = html()
    assert not re.search(r"https?:|url\(|@import|@font-face", text)
    tags = page().tags
    assert {tag for tag, _ in tags}.isdisjoint({"script", "link", "iframe", "object", "img"})
    assert not {"src", "href", "srcset", "data"} & {name for _, attrs in tags for name in attrs}


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": [HOSTILE, f"</th>{HOSTILE}", "eel"]},
        {"name": HOSTILE[:200]},
        {"refused": [{"format": "onnx-int8", "reason": HOSTILE}]},
        {"blocks": [FACTS["blocks"][0] | {"name": HOSTILE, "option": HOSTILE}]},
        {"device": HOSTILE},
    ],
)
def test_what_users_give_is_shown_as_text(page, changes):
    shown, plain = page(**changes), page()
    assert {tag for tag, _ in shown.tags} == {tag for tag, _ in plain.tags}
    assert not any(name.startswith("on") for _, attrs in shown.tags for name in attrs)
    assert "<script>alert('x')</script>" in shown.text


@pytest.mark.parametrize(
    "changes",
    [
        {"teacher": FACTS["teacher"] | {"accuracy": None, "test_accuracy": None}},
        {"trials": [trial(2, 400_000, 0.9, on_front=True, predicted=None)], "untold": 0},
        {"trials": [trial(n, 400_000, 0.9, on_front=n == 2, predicted=0.5) for n in range(3)]},
        {"limits": {"flops": None, "params": None}, "files": []},
        {"curve": {"loss": [], "accuracy": []}, "confusion": [(0, 0, 200)]},
        {"curve": {"loss": [(n / 9999, 1.0) for n in range(9999)], "accuracy": [(1.0, 0.0)]}},
    ],
    ids=["no teacher", "one trial", "equal trials", "a plan", "no curve", "a long curve"],
)
def test_what_is_not_there_is_left_out(page, changes):
    shown = page(**changes)
    code = {"files", "run-image", "run-onnx", "run-onnx-int8"}
    told = " ".join(text for id, text in shown.by_id.items() if id not in code)
    assert "None" not in told
    assert "nan" not in told
    assert len(html(**changes)) < 60_000
