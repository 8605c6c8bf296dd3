"""`jobs`, `front` and `libraries`: tables that fit a terminal, and the same as JSON."""

import json

from typer.testing import CliRunner

from pareconv.service.cli.app import app
from pareconv.service.cli.front_table import front_view as front_of
from pareconv.service.figures import age, count, duration, percent, plan_in_short, size_of
from pareconv.service.views.front import ParetoView
from pareconv.storage.jobs import Stage

FRONT = {
    "job": "1m3qjx0y6bq3c8z5w9d2e7f4ga",
    "status": "succeeded",
    "objectives": ["accuracy", "flops"],
    "trials_completed": 8,
    "flops_convention": "one multiply-add is 1",
    "budget": {"flops": 6_250_000, "params": None, "latency_ms": None, "accuracy_drop": None},
    "answer": None,
    "teacher": {
        "accuracy": 0.981,
        "test_accuracy": 0.975,
        "flops": 12_500_000,
        "adds": 0,
        "params": 78042,
        "latency_ms": None,
    },
    "points": [
        {
            "trial": 3,
            "accuracy": 0.90512,
            "accuracy_stderr": 0.0123,
            "evaluations": 1,
            "predicted": 0.3,
            "answer": False,
            "flops": 3_100_000,
            "flops_ratio": 0.248,
            "adds": 0,
            "params": 9_950,
            "params_ratio": 0.1275,
            "latency_ms": None,
            "latency_ratio": None,
            "latencies": [],
            "plan": {"a": "shift"},
            "finalist": False,
            "finish_accuracy": None,
            "test_accuracy": None,
            "artifacts": [],
        },
        {
            "trial": 7,
            "accuracy": 0.972,
            "accuracy_stderr": 0.009,
            "evaluations": 1,
            "predicted": 0.2,
            "answer": False,
            "flops": 6_100_000,
            "flops_ratio": 0.488,
            "adds": 0,
            "params": 39_000,
            "params_ratio": 0.4997,
            "latency_ms": None,
            "latency_ratio": None,
            "latencies": [],
            "plan": {"a": "svd(ratio=0.25)", "b": "svd(ratio=0.25)", "c": "shift"},
            "finalist": True,
            "finish_accuracy": 0.9801,
            "test_accuracy": 0.966,
            "artifacts": [
                {
                    "format": "onnx",
                    "bytes": 160_300,
                    "sha256": "0",
                    "href": "/jobs/x/students/7/onnx",
                    "test_accuracy": None,
                },
                {
                    "format": "onnx-int8",
                    "bytes": 82_600,
                    "sha256": "0",
                    "href": "/jobs/x/students/7/onnx-int8",
                    "test_accuracy": 0.9541,
                },
            ],
        },
    ],
}


def front_view(front, **how):
    return front_of(ParetoView(**front), **how)


def test_jobs_are_listed_as_a_table_and_as_json(run, job):
    assert job in run("jobs").stdout
    assert json.loads(run("jobs", "--json").stdout)["items"][0]["id"] == job
    assert "No jobs" in run("jobs", "--status", "failed").stdout


def test_the_list_of_jobs_has_room_for_names(run, client, spec, stores):
    name = "resnet18.onnx on photographs.zip, 50% FLOPs"
    job = client.post("/jobs", json=spec | {"name": name}).json()["id"]
    stores.jobs.claim("w", 60)
    stores.jobs.update(job, owner="w", stage=Stage.LIBRARY, progress=0.3)
    lines = run("jobs").stdout.splitlines()

    assert all(len(line) <= 80 for line in lines)
    words = {word for line in lines for word in line.split()}
    assert {*name.split(), "library", "30%"} <= words


def test_the_front_fits_80_columns_and_says_what_was_reached(shown):
    text = shown(front_view(FRONT, server="http://localhost:8000"))
    rows = {line.split()[0]: " ".join(line.split()) for line in text.splitlines() if line.strip()}

    assert max(map(len, text.splitlines())) <= 80
    assert rows["teacher"] == "teacher 12.5M 100% 78.0k 100% 98.1% - 97.5%"
    assert rows["3"] == "3 3.10M 25% 9.95k 13% 90.5% ±1.2 - - shift"
    assert rows["7"].startswith("7 6.10M 49% 39.0k 50% 97.2% ±0.9 98.0% 96.6% svd(0.25) x2,")
    words = " ".join(text.split())
    assert "8 trials, budget 6.25M FLOPs" in words
    assert "Finalist 7: test accuracy 96.6%, the teacher's 97.5%, at 49% of its FLOPs" in words
    assert "onnx 160kB /jobs/x/students/7/onnx onnx-int8" in words
    assert "onnx-int8 82.6kB /jobs/x/students/7/onnx-int8 (test accuracy 95.4%)" in words
    job = FRONT["job"]
    assert f"`pareconv download {job}` saves them." in words
    assert f"Page: http://localhost:8000/ui/jobs/{job} " in words
    assert "http://localhost:8000/dashboard" in words


def test_files_stand_below_their_finalist(shown):
    first, last = FRONT["points"]
    file = last["artifacts"][0] | {"href": "/jobs/x/students/3/onnx"}
    points = [first | {"test_accuracy": 0.9, "artifacts": [file]}, last]
    text = shown(front_view(FRONT | {"points": points}, server="http://x"))
    order = ["Finalist 3", "students/3/onnx", "Finalist 7", "students/7/onnx"]
    assert sorted(order, key=text.index) == order


def test_the_answer_to_an_accuracy_drop_is_told(shown):
    answer = {"trial": 7, "least_accuracy": 0.971, "message": "trial 7 is the least costly"}
    budget = {"flops": None, "params": 40_000, "latency_ms": None, "accuracy_drop": 1.0}
    text = shown(front_view(FRONT | {"answer": answer, "budget": budget}, server="http://x"))

    assert "budget 40.0k parameters and an accuracy drop of 1" in " ".join(text.split())
    assert "Answer: trial 7 is the least costly" in text


def test_the_front_tells_how_the_normalisation_was_found_out(shown):
    teacher = FRONT["teacher"] | {"normalized": "normalised by imagenet: imagenet 94.9%"}
    text = shown(front_view(FRONT | {"teacher": teacher}, server="http://x"))

    assert "Images normalised by imagenet: imagenet 94.9%." in " ".join(text.split())


def test_the_front_tells_that_the_teacher_may_know_the_validation_images(shown):
    told = "which the teacher may know"
    teacher = FRONT["teacher"] | {"validation_seen": True}

    assert told in " ".join(shown(front_view(FRONT | {"teacher": teacher}, server="x")).split())
    assert told not in " ".join(shown(front_view(FRONT, server="http://x")).split())


def test_the_full_front_names_every_block(shown):
    text = shown(front_view(FRONT, server="http://x", full=True))

    assert "Trial 7:\n  a  svd(ratio=0.25)\n  b  svd(ratio=0.25)\n  c  shift\n" in text
    assert "--full" not in text
    assert "--full` prints" in shown(front_view(FRONT, server="http://x"))


def test_latencies_are_shown_where_they_count(shown):
    timed = {
        "device": "a processor",
        "runtime": "onnxruntime",
        "batch": 1,
        "threads": 2,
        "versions": {"onnxruntime": "1.31.1"},
        "teacher_spread_ms": 0.1,
        "student_spread_ms": 0.1,
        "teacher_ms": 4.0,
        "student_ms": 2.25,
    }
    first, last = FRONT["points"]
    points = [
        first | {"latency_ms": 1.5, "latency_ratio": 0.375},
        last | {"latency_ms": 2.5, "latency_ratio": 0.625, "latencies": [timed]},
    ]
    front = FRONT | {
        "teacher": FRONT["teacher"] | {"latency_ms": 4.0},
        "budget": FRONT["budget"] | {"flops": None, "latency_ms": 3.0},
        "points": points,
    }
    words = " ".join(shown(front_view(front, server="http://x")).split())
    assert "budget 3.00 ms" in words
    assert "1.50 ms 38%" in words
    assert "4.00 ms 100%" in words
    assert (
        "onnxruntime 2.25 ± 0.10 ms, teacher 4.00 ± 0.10 (batch 1, 2 threads, a processor)" in words
    )


def test_the_additions_of_adder_layers_are_shown_where_there_are_some(shown):
    assert "Adds" not in shown(front_view(FRONT, server="http://x"))
    points = [FRONT["points"][0] | {"adds": 120_000}]

    assert "120k" in shown(front_view(FRONT | {"points": points}, server="http://x"))


def test_the_front_of_a_job_that_has_none_yet(run, job):
    result = run("front", job)

    assert result.exit_code == 0
    assert "No student inside the budget yet" in result.stdout
    assert f"/ui/jobs/{job}" in result.stdout
    assert "download" not in result.stdout


def test_the_front_as_json_is_what_the_server_says(run, client, finished):
    answer = json.loads(run("front", finished, "--json", "--objectives", "accuracy,params").stdout)

    params = {"objectives": "accuracy,params"}
    assert answer == client.get(f"/jobs/{finished}/pareto", params=params).json()


def test_figures_are_short_and_true():
    assert [count(n) for n in (7, 999, 999_960, 40_927_872)] == ["7", "999", "1.00M", "40.9M"]
    assert [size_of(n) for n in (12, 620_000)] == ["12 B", "620kB"]
    assert [duration(s) for s in (41.6, 187, 3727)] == ["42 s", "3:07", "1:02:07"]
    assert [percent(None), percent(0.5), percent(0.496, digits=0)] == ["-", "50.0%", "50%"]
    assert plan_in_short({}) == "keep"
    assert plan_in_short({"a": "shift", "b": "svd(ratio=1)", "c": "shift"}) == "shift x2, svd(1)"
    assert plan_in_short({"a": "svd(ratio=1)", "b": "shift"}) == "shift, svd(1)"
    assert age("2020-01-01T00:00:00Z").endswith(" d")


def test_libraries_are_listed_as_a_table_and_as_json(run, library, stores):
    row = " ".join(run("libraries").stdout.split())
    assert f"{library.id} cifar_resnet8 1.00k 100 idle" in row
    assert json.loads(run("libraries", "--json").stdout)["items"][0]["id"] == library.id
    stores.libraries.claim(library.id, "w", 60)
    assert "being built" in run("libraries").stdout


def test_no_libraries_are_told(run):
    assert "No libraries" in run("libraries").stdout


def test_a_predicted_front_shows_plans_with_score_and_cost(run, library):
    result = run("libraries", "front", library.id, "--flops", "70%")

    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    assert f"Library {library.id}: predicted front within 700 FLOPs" in text
    assert "FLOPs Adds Params Score Plan" in text
    assert "300 35% 50 20 20% 0.5 shift" in text
    assert "600 60% 0 60 60% 0.1 svd(0.5)" in text


def test_the_latest_library_needs_no_id(run, library):
    assert f"Library {library.id}" in run("libraries", "front", "latest").stdout


def test_a_predicted_front_as_json_is_what_the_server_says(run, library):
    answer = json.loads(run("libraries", "front", library.id, "--params", "60", "--json").stdout)

    assert answer["budget"] == {"flops": None, "params": 60}
    assert [point["score"] for point in answer["points"]] == [0.1, 0.5]


def test_a_budget_that_is_none_is_exit_code_2(run, library):
    result = run("libraries", "front", library.id, "--flops", "half")

    assert result.exit_code == 2
    assert result.stderr.startswith("flops: 'half' is no budget")


def test_the_server_may_be_named_before_a_command_of_a_group(client, library, monkeypatch):
    monkeypatch.setenv("PARECONV_SERVER", "http://127.0.0.1:9")
    arguments = ["libraries", "--server", str(client.base_url), "front", library.id]

    assert CliRunner().invoke(app, arguments).exit_code == 0
