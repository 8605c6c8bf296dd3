"""Jobs over HTTP: submitted, listed, shown, cancelled, resumed, deleted."""

import io
import json
from datetime import UTC, datetime, timedelta

import pytest

from pareconv.search.errors import InvalidSpec, TaskDied, TaskTimeout
from pareconv.storage.jobs import JobStatus, Stage

UNTOLD = {"latency_ms": None, "normalized": None, "validation_seen": False}
PROFILE = {
    "teacher": {
        "accuracy": 0.9,
        "test_accuracy": None,
        "flops": 1000,
        "adds": 0,
        "params": 100,
    },
    "budget": {"flops": 500, "params": None},
}
MEASURED = {
    "accuracy_stderr": 0.01,
    "loss": 0.3,
    "seconds": 1.0,
    "images": 80,
    "compute": 100.0,
    "rungs": [],
    "checkpoint": None,
}


def submit(client, spec, **headers):
    response = client.post("/jobs", json=spec, headers=headers)
    assert response.status_code == 201, response.text
    return response.json()


def test_a_submitted_job_is_queued_with_every_default_written_out(client, spec):
    response = client.post("/jobs", json=spec)

    job = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/jobs/{job['id']}"
    assert (job["status"], job["stage"], job["progress"]) == ("queued", None, 0.0)
    assert job["name"] == spec["name"]
    assert job["counts"] == {"running": 0, "complete": 0, "stopped": 0, "failed": 0}
    assert job["teacher"] is job["best"] is job["error"] is job["eta_s"] is None
    assert job["library"] is job["extension"] is job["answer"] is None
    assert job["spec"]["search"]["trials"] == 60
    assert set(job["links"]) == {"pareto", "students", "trials", "events", "page", "dashboard"}
    assert datetime.fromisoformat(job["created_at"]).tzinfo == UTC
    assert client.get(response.headers["location"]).json() == job


def test_a_job_without_a_name_is_called_by_what_it_is(client, spec):
    del spec["name"]
    assert submit(client, spec)["name"] == "cifar_resnet8 on digits, 50% FLOPs"
    uploaded = {
        kind: client.post(f"/{kind}s", files={"file": (name, name.encode())}).json()["reference"]
        for kind, name in (("teacher", "network.onnx"), ("dataset", "images.zip"))
    }
    own = {
        "teacher": {"architecture": uploaded["teacher"]},
        "dataset": {"source": uploaded["dataset"]},
        "budget": {"params": 20_000, "latency": {"ms": 2.5}, "accuracy_drop": 1},
    }
    assert submit(client, spec | own)["name"] == (
        "network.onnx on images.zip, 20.0k parameters, 2.5 ms, at most 1 point lost"
    )
    named = {
        "teacher": {"architecture": "file:/models/net.onnx"},
        "budget": None,
        "plan": {"layer1.0": "svd(ratio=0.5)"},
    }
    assert submit(client, spec | named)["name"] == "net.onnx on digits, one plan"


def test_every_link_of_a_job_leads_somewhere(client, spec):
    links = submit(client, spec)["links"]

    for name in ("pareto", "students", "trials", "events", "page"):
        assert client.get(links[name]).status_code == 200


def test_a_spec_is_inspected_before_its_job_exists(client, spec, runner, stores, assert_problem):
    runner.answers["inspect"] = InvalidSpec("budget.flops", "10 is below the least reachable, 200")

    response = client.post("/jobs", json=spec)

    problem = assert_problem(response, 422, field="budget.flops")
    assert "200" in problem["detail"]
    assert stores.jobs.page(10) == ([], None)


def test_an_invalid_spec_is_refused_without_an_inspection(client, spec, runner, assert_problem):
    spec["budget"] = {"flops": "0%"}

    assert_problem(client.post("/jobs", json=spec), 422, field="budget.flops")
    assert runner.calls == []


@pytest.mark.parametrize(
    ("error", "status"), [(TaskDied("was killed by SIGKILL"), 422), (TaskTimeout("inspect"), 504)]
)
def test_an_inspection_that_breaks_makes_no_job(
    client, spec, runner, assert_problem, error, status
):
    runner.answers["inspect"] = error

    assert_problem(client.post("/jobs", json=spec), status)
    assert client.get("/jobs").json()["items"] == []


def test_the_same_idempotency_key_gives_the_first_job_again(client, spec, stores):
    first = client.post("/jobs", json=spec, headers={"Idempotency-Key": "k1"})
    again = client.post("/jobs", json=spec, headers={"Idempotency-Key": "k1"})

    assert again.status_code == 201
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["location"] == first.headers["location"]
    assert len(stores.jobs.page(10)[0]) == 1
    assert len(stores.events.page(first.json()["id"])) == 1


def test_a_repeated_request_is_answered_though_its_inspection_would_fail_by_now(
    client, spec, runner
):
    first = submit(client, spec, **{"Idempotency-Key": "k1"})
    runner.answers["inspect"] = TaskTimeout("inspect")

    assert submit(client, spec, **{"Idempotency-Key": "k1"})["id"] == first["id"]


def test_a_key_does_not_hang_on_how_the_json_is_written(client, spec):
    first = submit(client, spec, **{"Idempotency-Key": "k1"})
    spread = json.dumps(dict(reversed(spec.items())), indent=4)
    headers = {"Idempotency-Key": "k1", "content-type": "application/json; charset=utf-8"}

    again = client.post("/jobs", content=spread, headers=headers)

    assert again.json()["id"] == first["id"]


def test_a_key_with_another_request_is_refused(client, spec, assert_problem):
    submit(client, spec, **{"Idempotency-Key": "k1"})
    spec["seed"] = 1

    response = client.post("/jobs", json=spec, headers={"Idempotency-Key": "k1"})

    assert_problem(response, 422, field="Idempotency-Key")


def test_without_a_key_each_request_makes_a_job(client, spec):
    assert submit(client, spec)["id"] != submit(client, spec)["id"]


def test_jobs_are_listed_newest_first_in_pages(client, spec):
    ids = [submit(client, spec)["id"] for _ in range(3)]

    first = client.get("/jobs", params={"limit": 2}).json()
    rest = client.get("/jobs", params={"limit": 2, "cursor": first["next"]}).json()

    assert [each["id"] for each in first["items"] + rest["items"]] == ids[::-1]
    assert rest["next"] is None


def test_jobs_are_listed_by_status(client, spec):
    queued, cancelled = submit(client, spec)["id"], submit(client, spec)["id"]
    client.post(f"/jobs/{cancelled}/cancel")

    for status, id in (("queued", queued), ("cancelled", cancelled)):
        found = client.get("/jobs", params={"status": status}).json()["items"]
        assert [each["id"] for each in found] == [id]


def test_a_running_job_shows_what_its_worker_reported(client, spec, stores, library):
    id = submit(client, spec)["id"]
    stores.jobs.claim("w", 60)
    resolved = spec | {"device": "cpu"}
    soon, later = (datetime.now(UTC) + timedelta(seconds=each) for each in (60, 600))
    stores.jobs.update(
        id, owner="w", stage=Stage.SEARCH, progress=0.5, resolved=resolved, profile=PROFILE
    )
    stores.jobs.update(id, owner="w", stage_eta=soon, eta=later)
    stores.jobs.update(id, owner="w", library_id=library.id)
    for accuracy, flops in ((0.7, 300), (0.8, 400)):
        number = stores.candidates.create(id, {}, flops=flops, adds=0, params=9).number
        stores.candidates.complete(id, number, accuracy=accuracy, **MEASURED)
    stores.candidates.create(id, {}, flops=1, adds=0, params=1)
    stores.candidates.create(id, {}, flops=1, adds=0, params=1)
    stores.candidates.stop(id, 3, "dominated by trial 1", accuracy=0.9, **MEASURED)

    job = client.get(f"/jobs/{id}").json()

    assert (job["status"], job["stage"], job["progress"]) == ("running", "search", 0.5)
    assert 0 < job["stage_eta_s"] <= 60
    assert 60 < job["eta_s"] <= 600
    assert job["spec"] == resolved
    assert job["teacher"] == PROFILE["teacher"] | UNTOLD
    assert job["counts"] == {"running": 1, "complete": 2, "stopped": 1, "failed": 0}
    assert job["library"] == library.id
    best = {"trial": 1, "accuracy": 0.8, "finished": False}
    assert job["best"] == best | {"flops": 400, "adds": 0, "params": 9}


def test_the_best_of_a_job_counts_a_finished_student_as_what_it_became(client, spec, stores):
    id = submit(client, spec)["id"]
    stores.jobs.claim("w", 60)
    for accuracy, flops in ((0.7, 300), (0.8, 400)):
        number = stores.candidates.create(id, {}, flops=flops, adds=0, params=9).number
        stores.candidates.complete(id, number, accuracy=accuracy, **MEASURED)

    def best_after_finishing(trial, accuracy):
        known = {"finish_accuracy": accuracy, "test_accuracy": 0.1}
        stores.candidates.finish(id, trial, **known, compute=1.0)
        best = client.get(f"/jobs/{id}").json()["best"]
        return best["trial"], best["accuracy"], best["finished"]

    assert best_after_finishing(0, 0.75) == (1, 0.8, False)
    assert best_after_finishing(1, 0.85) == (1, 0.85, True)
    assert best_after_finishing(0, 0.9) == (0, 0.9, True)


def test_of_equally_accurate_students_the_least_costly_is_best(client, spec, stores):
    """Costly in what the job is about; an addition is no free FLOP."""

    def best_of(objective):
        search = {"objectives": ["accuracy", objective]}
        id = submit(client, spec | {"search": search})["id"]
        stores.jobs.claim("w", 60)
        for flops, adds, params in ((300, 200, 8), (400, 0, 9)):
            cost = {"flops": flops, "adds": adds, "params": params}
            number = stores.candidates.create(id, {}, **cost).number
            stores.candidates.complete(id, number, accuracy=0.7, **MEASURED)
            reached = {"finish_accuracy": 0.8, "test_accuracy": 0.8}
            stores.candidates.finish(id, number, **reached, compute=1.0)
        best = client.get(f"/jobs/{id}").json()["best"]
        return best["trial"], best["flops"], best["adds"]

    assert best_of("flops") == (1, 400, 0)
    assert best_of("params") == (0, 300, 200)


def test_a_failed_job_shows_its_problem_and_can_be_resumed(client, spec, stores):
    id = submit(client, spec)["id"]
    stores.jobs.claim("w", 60)
    error = {"type": "/problems/job-failed", "title": "failed", "detail": "image 3 is corrupt"}
    stores.jobs.transition(id, JobStatus.FAILED, owner="w", error=error)

    assert client.get(f"/jobs/{id}").json()["error"] == error

    resumed = client.post(f"/jobs/{id}/resume").json()
    assert (resumed["status"], resumed["error"]) == ("queued", None)


def test_cancelling_twice_is_no_error(client, spec):
    id = submit(client, spec)["id"]

    for _ in range(2):
        response = client.post(f"/jobs/{id}/cancel")
        assert (response.status_code, response.json()["status"]) == (200, "cancelled")


def test_a_running_job_is_asked_to_end(client, spec, stores, assert_problem):
    id = submit(client, spec)["id"]
    stores.jobs.claim("w", 60)

    assert client.post(f"/jobs/{id}/cancel").json()["status"] == "cancelling"
    assert_problem(client.delete(f"/jobs/{id}"), 409)
    assert_problem(client.post(f"/jobs/{id}/resume"), 409)


def test_a_deleted_job_is_gone(client, spec, assert_problem):
    id = submit(client, spec)["id"]

    assert client.delete(f"/jobs/{id}").status_code == 204
    assert_problem(client.get(f"/jobs/{id}"), 404)
    assert_problem(client.delete(f"/jobs/{id}"), 404)


def test_an_unexpected_error_shows_nothing_of_the_inside(client, spec, runner, assert_problem):
    runner.answers["inspect"] = RuntimeError("secret at /root/key")

    problem = assert_problem(client.post("/jobs", json=spec), 500)

    assert "secret" not in json.dumps(problem)
    assert client.get("/healthz").status_code == 200


def test_a_deleted_job_goes_with_the_files_that_nothing_else_uses(client, spec, stores):
    shared, own = (stores.files.put_stream(io.BytesIO(each))[0] for each in (b"shared", b"own"))
    ids = [submit(client, spec)["id"] for _ in range(2)]
    for id, names in zip(ids, ({"pt2": shared, "onnx": own}, {"pt2": shared}), strict=True):
        stores.candidates.create(id, {}, flops=1, adds=0, params=1)
        for format, sha256 in names.items():
            file = {"format": format, "sha256": sha256, "size_bytes": 1, "filename": "a"}
            stores.artifacts.put(id, 0, **file)

    assert client.delete(f"/jobs/{ids[0]}").status_code == 204

    assert stores.files.sizes() == {shared: 6}
    assert client.get(f"/jobs/{ids[1]}/students/0/pt2").content == b"shared"
    client.delete(f"/jobs/{ids[1]}")
    assert stores.files.sizes() == {}
