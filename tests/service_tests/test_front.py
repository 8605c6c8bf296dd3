"""The front and the trials of a job over HTTP."""

import httpx
import pytest

from pareconv.storage.jobs import JobStatus

UNTOLD = {"latency_ms": None, "normalized": None, "validation_seen": False}
PROFILE = {
    "teacher": {
        "accuracy": 0.9,
        "test_accuracy": 0.88,
        "flops": 1000,
        "adds": 0,
        "params": 100,
    },
    "budget": {"flops": 500, "params": None},
}


RUNGS = [{"images": 40, "accuracy": 0.5, "stderr": 0.02}]
MEASURED = {
    "accuracy_stderr": 0.01,
    "loss": 0.3,
    "seconds": 1.5,
    "images": 80,
    "compute": 90.5,
    "rungs": RUNGS,
    "checkpoint": None,
}


def add(stores, job, accuracy, *, flops, adds=0, params=50, predicted=None):
    plan = {"layer1.0": f"svd(ratio={accuracy})"}
    cost = {"flops": flops, "adds": adds, "params": params}
    number = stores.candidates.create(job, plan, predicted=predicted, **cost).number
    stores.candidates.complete(job, number, accuracy=accuracy, **MEASURED)
    return number


@pytest.fixture
def job(client, spec, stores):
    id = client.post("/jobs", json=spec).json()["id"]
    stores.jobs.claim("w", 60)
    return id


def test_before_the_profile_the_front_is_empty_and_has_no_teacher(client, job):
    front = client.get(f"/jobs/{job}/pareto").json()

    assert front == {
        "job": job,
        "status": "running",
        "objectives": ["accuracy", "flops"],
        "trials_completed": 0,
        "flops_convention": "one multiply-add is 1 (fvcore)",
        "budget": {"flops": None, "params": None, "latency_ms": None, "accuracy_drop": None},
        "teacher": None,
        "answer": None,
        "points": [],
    }


def test_the_front_holds_what_no_other_dominates(client, job, stores):
    stores.jobs.update(job, owner="w", profile=PROFILE)
    add(stores, job, 0.75, flops=400, predicted=0.125)
    add(stores, job, 0.70, flops=450)  # dominated
    add(stores, job, 0.60, flops=100, adds=100, params=20)
    again = {
        "accuracy": 0.80,
        "accuracy_stderr": 0.005,
        "evaluations": 3,
        "compute": 200.0,
        "seconds": 2.0,
    }
    stores.candidates.reevaluate(job, 0, **again)
    timed = {
        "device": "a processor",
        "runtime": "onnxruntime",
        "batch": 1,
        "threads": 2,
        "versions": {"onnxruntime": "1"},
        "teacher_ms": 3.0,
        "teacher_spread_ms": 0.2,
        "student_ms": 2.0,
        "student_spread_ms": 0.1,
    }
    finished = {"finish_accuracy": 0.85, "test_accuracy": 0.84, "compute": 900.0}
    stores.candidates.finish(job, 0, **finished, latencies=[timed])
    sha = "a" * 64
    file = {"sha256": sha, "size_bytes": 7, "filename": "student-0.onnx"}
    exact, quantized = {"difference": 1e-07}, {"accuracy": 0.83, "test_accuracy": 0.82}
    stores.artifacts.put(job, 0, format="onnx", details=exact, **file)
    stores.artifacts.put(job, 0, format="onnx-int8", details=quantized, **file)

    front = client.get(f"/jobs/{job}/pareto").json()

    assert front["trials_completed"] == 3
    limits = {"flops": 500, "params": None, "latency_ms": None, "accuracy_drop": None}
    assert front["budget"] == limits
    assert front["teacher"] == PROFILE["teacher"] | UNTOLD
    assert [each["trial"] for each in front["points"]] == [2, 0]
    cheap, best = front["points"]
    assert (cheap["flops_ratio"], cheap["params_ratio"], cheap["adds"]) == (0.2, 0.2, 100)
    assert (cheap["artifacts"], cheap["predicted"], cheap["evaluations"]) == ([], None, 1)
    assert best == {
        "trial": 0,
        "accuracy": 0.80,
        "accuracy_stderr": 0.005,
        "evaluations": 3,
        "predicted": 0.125,
        "flops": 400,
        "flops_ratio": 0.4,
        "adds": 0,
        "params": 50,
        "params_ratio": 0.5,
        "latency_ms": None,
        "latency_ratio": None,
        "plan": {"layer1.0": "svd(ratio=0.75)"},
        "finalist": True,
        "finish_accuracy": 0.85,
        "test_accuracy": 0.84,
        "latencies": [timed],
        "answer": False,
        "artifacts": [
            {
                "format": "onnx",
                "bytes": 7,
                "sha256": sha,
                "href": f"/jobs/{job}/students/0/onnx",
                "difference": 1e-07,
                "accuracy": None,
                "test_accuracy": None,
            },
            {
                "format": "onnx-int8",
                "bytes": 7,
                "sha256": sha,
                "href": f"/jobs/{job}/students/0/onnx-int8",
                "difference": None,
                "accuracy": 0.83,
                "test_accuracy": 0.82,
            },
        ],
    }


def finish(stores, job, number, accuracy):
    found = {"finish_accuracy": accuracy, "test_accuracy": 0.1}  # which decides nothing
    stores.candidates.finish(job, number, **found, compute=9.0)


def test_the_answer_is_the_least_costly_that_was_finished_within_the_accuracy_drop(
    client, spec, stores
):
    spec["budget"] = {"accuracy_drop": 2.5}
    job = client.post("/jobs", json=spec).json()["id"]
    assert client.get(f"/jobs/{job}").json()["answer"] is None
    stores.jobs.claim("w", 60)
    stores.jobs.update(job, owner="w", profile=PROFILE | {"budget": {}})
    for accuracy, flops in ((0.70, 100), (0.80, 200), (0.88, 300), (0.89, 400)):
        add(stores, job, accuracy, flops=flops)

    shown = client.get(f"/jobs/{job}").json()
    assert (shown["answer"]["trial"], shown["answer"]["least_accuracy"]) == (None, 0.875)
    assert "no student is finished yet" in shown["answer"]["message"]
    assert shown["best"]["trial"] == 3

    before = etag_of(client, job).headers["etag"]
    finish(stores, job, 0, 0.85)
    shown = client.get(f"/jobs/{job}").json()
    assert shown["answer"]["trial"] is None
    assert "the nearest is trial 0, with 85.00%; allow a larger" in shown["answer"]["message"]

    finish(stores, job, 3, 0.90)
    finish(stores, job, 1, 0.875)
    shown = client.get(f"/jobs/{job}").json()
    front = client.get(f"/jobs/{job}/pareto").json()
    assert shown["answer"]["trial"] == shown["best"]["trial"] == 1
    assert front["answer"] == shown["answer"]
    assert front["budget"]["accuracy_drop"] == 2.5
    assert [each["trial"] for each in front["points"] if each["answer"]] == [1]
    assert etag_of(client, job).headers["etag"] != before


def test_the_answer_over_parameters_is_that_of_the_fewest(client, spec, stores):
    spec["budget"] = {"accuracy_drop": 1}
    spec["search"] = {"objectives": ["accuracy", "params"]}
    job = client.post("/jobs", json=spec).json()["id"]
    stores.jobs.claim("w", 60)
    stores.jobs.update(job, owner="w", profile=PROFILE)
    for params in (30, 20, 40):
        number = add(stores, job, 0.9, flops=1000 - params, params=params)
        finish(stores, job, number, 0.9)
    assert client.get(f"/jobs/{job}").json()["answer"]["trial"] == 1


def test_the_front_can_be_drawn_over_parameters(client, job, stores):
    add(stores, job, 0.8, flops=100, params=90)
    add(stores, job, 0.7, flops=300, params=30)

    over_flops = client.get(f"/jobs/{job}/pareto?objectives=accuracy,flops").json()
    over_params = client.get(f"/jobs/{job}/pareto?objectives=accuracy,params").json()

    assert [each["trial"] for each in over_flops["points"]] == [0]
    assert [each["trial"] for each in over_params["points"]] == [1, 0]
    assert over_params["objectives"] == ["accuracy", "params"]


def test_a_job_over_parameters_shows_such_a_front_by_itself(client, spec, stores):
    spec["search"] = {"objectives": ["accuracy", "params"]}
    id = client.post("/jobs", json=spec).json()["id"]

    assert client.get(f"/jobs/{id}/pareto").json()["objectives"] == ["accuracy", "params"]


def etag_of(client, job, **headers) -> httpx.Response:
    return client.get(f"/jobs/{job}/pareto", headers=headers)


def test_an_unchanged_front_is_304(client, job, stores):
    add(stores, job, 0.8, flops=100)
    first = etag_of(client, job)

    for tag in (
        first.headers["etag"],
        f"W/{first.headers['etag']}",
        '"x", ' + first.headers["etag"],
    ):
        again = etag_of(client, job, **{"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]


def candidate(stores, job):
    add(stores, job, 0.8, flops=100)


def reevaluation(stores, job):
    again = {
        "accuracy": 0.7,
        "accuracy_stderr": 0.005,
        "evaluations": 2,
        "compute": 9.0,
        "seconds": 1.0,
    }
    stores.candidates.reevaluate(job, add(stores, job, 0.8, flops=100), **again)


def profile(stores, job):
    stores.jobs.update(job, owner="w", profile=PROFILE)


def end(stores, job):
    stores.jobs.transition(job, JobStatus.SUCCEEDED, owner="w")


@pytest.mark.parametrize("change", [candidate, reevaluation, profile, end])
def test_whatever_the_front_shows_changes_its_tag(client, job, stores, change):
    before = etag_of(client, job)

    change(stores, job)

    after = etag_of(client, job, **{"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert after.headers["etag"] != before.headers["etag"]
    assert after.json() != before.json()


def test_two_fronts_of_one_job_have_two_tags(client, job):
    tag = etag_of(client, job).headers["etag"]

    other = client.get(
        f"/jobs/{job}/pareto?objectives=accuracy,params", headers={"If-None-Match": tag}
    )

    assert other.status_code == 200


def test_trials_are_listed_with_state_and_reason(client, job, stores):
    add(stores, job, 0.8, flops=100)
    stores.candidates.create(job, {"a": "shift"}, flops=5, adds=0, params=5)
    stores.candidates.fail(job, 1, "the loss became NaN")
    stores.candidates.create(job, {"a": "shift"}, flops=5, adds=0, params=5, retry_of=1)

    page = client.get(f"/jobs/{job}/trials").json()

    assert page["next"] is None
    assert [each["trial"] for each in page["items"]] == [0, 1, 2]
    assert [each["state"] for each in page["items"]] == ["complete", "failed", "running"]
    assert [each["reason"] for each in page["items"]] == [None, "the loss became NaN", None]
    assert page["items"][2]["retry_of"] == 1
    assert page["items"][0]["plan"] == {"layer1.0": "svd(ratio=0.8)"}


def test_a_trial_tells_what_was_promised_what_it_cost_and_what_it_reached(client, job, stores):
    add(stores, job, 0.8, flops=100, predicted=0.125)
    stores.candidates.create(job, {}, flops=5, adds=0, params=5, predicted=0.25)
    stores.candidates.stop(job, 1, "dominated by trial 0", accuracy=0.5, **MEASURED)
    stores.candidates.create(job, {"a": "shift"}, flops=5, adds=0, params=5)

    complete, stopped, running = client.get(f"/jobs/{job}/trials").json()["items"]

    for each, predicted in ((complete, 0.125), (stopped, 0.25)):
        assert (each["predicted"], each["compute"], each["evaluations"]) == (predicted, 90.5, 1)
        assert each["rungs"] == RUNGS
    assert (stopped["state"], stopped["reason"]) == ("stopped", "dominated by trial 0")
    assert (stopped["accuracy"], stopped["images"]) == (0.5, 80)
    assert (running["compute"], running["rungs"], running["evaluations"]) == (None, [], 0)


def test_trials_come_in_pages(client, job, stores):
    for flops in range(1, 6):
        add(stores, job, 0.5, flops=flops)

    seen, cursor = [], None
    for _ in range(3):
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = client.get(f"/jobs/{job}/trials", params=params).json()
        seen += [each["trial"] for each in page["items"]]
        cursor = page["next"]

    assert seen == [0, 1, 2, 3, 4]
    assert cursor is None
