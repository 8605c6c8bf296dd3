"""More of a job, over HTTP: a student that is asked for, and a search that goes on."""

import io

import pytest

from pareconv.storage.jobs import JobStatus

MEASURED = {
    "accuracy_stderr": 0.01,
    "loss": 0.3,
    "seconds": 1.5,
    "images": 80,
    "compute": 90.5,
    "rungs": [],
    "checkpoint": "c" * 64,
}
FINISHED = {"finish_accuracy": 0.9, "test_accuracy": 0.8, "compute": 900.0}


def with_trials(job, stores):
    """Trials 0, dominated, and 1, finished, are complete, 2 was stopped; the job has succeeded."""
    for number, accuracy in enumerate((0.5, 0.7)):
        stores.candidates.create(job, {"a": f"svd(ratio={accuracy})"}, flops=9, adds=0, params=1)
        stores.candidates.complete(job, number, accuracy=accuracy, **MEASURED)
    stores.candidates.create(job, {}, flops=1, adds=0, params=1)
    stores.candidates.stop(job, 2, "dominated", accuracy=0.1, **MEASURED)
    stores.candidates.finish(job, 1, **FINISHED)
    file = {"sha256": "d" * 64, "size_bytes": 3, "filename": "s.onnx"}
    stores.artifacts.put(job, 1, format="onnx", **file)
    stores.jobs.claim("w", 60)
    assert stores.jobs.succeed(job, owner="w")
    return job


@pytest.fixture
def job(client, spec, stores):
    return with_trials(client.post("/jobs", json=spec).json()["id"], stores)


def types(stores, job):
    """Of its events those after it was queued and had succeeded."""
    return [(each.type, each.message) for each in stores.events.page(job)][2:]


def test_a_trial_is_finished_on_request_by_the_next_worker(client, job, stores):
    asked = {"trial": 0, "epochs": 3, "formats": ["onnx", "pt2"]}
    response = client.post(f"/jobs/{job}/students", json=asked)

    assert response.status_code == 202, response.text
    assert response.headers["location"] == f"/jobs/{job}"
    found = response.json()
    assert (found["status"], found["progress"], found["finished_at"]) == ("queued", 0.0, None)
    assert types(stores, job) == [("student", "trial 0 is to be finished")]
    trials = client.get(f"/jobs/{job}/trials").json()["items"]
    how = {"epochs": 3.0, "formats": ["onnx", "pt2"]}
    assert [each["wanted"] for each in trials] == [how, None, None]
    assert stores.jobs.claim("other", 60).id == job


def test_asking_twice_queues_once(client, job, stores):
    for _ in range(2):
        response = client.post(f"/jobs/{job}/students", json={"trial": 0})
        assert (response.status_code, response.json()["status"]) == (202, "queued")
    assert [each.number for each in stores.candidates.wanted(job)] == [0]


def test_a_finished_student_stays_as_it_is(client, job, stores):
    before = stores.jobs.get(job), stores.candidates.get(job, 1)
    for asked in ({"trial": 1}, {"trial": 1, "epochs": 50, "formats": ["onnx"]}):
        response = client.post(f"/jobs/{job}/students", json=asked)
        assert (response.status_code, response.json()["status"]) == (200, "succeeded")
    assert (stores.jobs.get(job), stores.candidates.get(job, 1)) == before
    assert types(stores, job) == []


def test_a_finished_student_has_the_files_that_it_has(client, job, assert_problem):
    asked = {"trial": 1, "formats": ["onnx", "pt2"]}

    problem = assert_problem(client.post(f"/jobs/{job}/students", json=asked), 409)

    assert "as onnx and not as pt2" in problem["detail"]


def test_a_job_that_still_runs_finishes_it_along(client, spec, stores):
    id = client.post("/jobs", json=spec).json()["id"]
    stores.jobs.claim("w", 60)
    stores.candidates.create(id, {}, flops=1, adds=0, params=1)
    stores.candidates.complete(id, 0, accuracy=0.5, **MEASURED)

    response = client.post(f"/jobs/{id}/students", json={"trial": 0})

    assert (response.status_code, response.json()["status"]) == (202, "running")


def test_what_cannot_be_finished_is_said_with_the_remedy(client, job, stores, assert_problem):
    address = f"/jobs/{job}/students"
    assert_problem(client.post("/jobs/none/students", json={"trial": 0}), 404)
    assert_problem(client.post(address, json={"trial": 7}), 404)
    problem = assert_problem(client.post(address, json={"trial": 2}), 409)
    assert "is stopped; only a complete one" in problem["detail"]
    stores.jobs.transition(job, JobStatus.QUEUED)
    stores.jobs.cancel(job)
    problem = assert_problem(client.post(address, json={"trial": 0}), 409)
    assert "resume it first" in problem["detail"]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "trial"),
        ({"trial": -1}, "trial"),
        ({"trial": True}, "trial"),
        ({"trial": "best"}, "trial"),
        ({"trial": 10**40}, "trial"),
        ({"trial": 0, "epochs": 0}, "epochs"),
        ({"trial": 0, "formats": []}, "formats"),
        ({"trial": 0, "formats": ["onnx", "onnx"]}, "formats"),
        ({"trial": 0, "formats": ["exe"]}, "formats.0"),
        ({"trial": 0, "method": "kd"}, "method"),
    ],
)
def test_a_student_request_that_cannot_be_names_its_field(
    client, job, stores, assert_problem, asked, field
):
    assert_problem(client.post(f"/jobs/{job}/students", json=asked), 422, field=field)
    assert stores.jobs.get(job).status is JobStatus.SUCCEEDED


def test_all_students_are_listed_on_the_front_or_not(client, job, stores):
    stores.candidates.finish(job, 0, **FINISHED | {"finish_accuracy": 0.4})

    students = client.get(f"/jobs/{job}/students").json()

    assert students["next"] is None
    assert [each["trial"] for each in students["items"]] == [0, 1]
    assert [each["finish_accuracy"] for each in students["items"]] == [0.4, 0.9]
    assert [len(each["artifacts"]) for each in students["items"]] == [0, 1]
    front = client.get(f"/jobs/{job}/pareto").json()["points"]
    assert [each["trial"] for each in front] == [1]
    assert students["items"][1] == front[0]


def test_a_search_is_extended(client, job, stores):
    response = client.post(f"/jobs/{job}/extend", json={"trials": 40, "time_limit_s": 60})

    assert response.status_code == 202, response.text
    found = response.json()
    assert (found["status"], found["stage"], found["progress"]) == ("queued", "search", 0.0)
    assert found["extension"] == {"trials": 40, "time_limit_s": 60.0, "after": 3}
    assert client.get(f"/jobs/{job}").json() == found
    message = "the search goes on: 40 more trials, in at most 60 s"
    assert types(stores, job) == [("extended", message)]


def test_only_a_job_that_succeeded_is_extended(client, job, spec, stores, assert_problem):
    client.post(f"/jobs/{job}/extend", json={"trials": 40})
    again = client.post(f"/jobs/{job}/extend", json={"trials": 40})
    assert "wait until it has ended" in assert_problem(again, 409)["detail"]
    client.post(f"/jobs/{job}/cancel")
    cancelled = client.post(f"/jobs/{job}/extend", json={"trials": 40})
    assert "resume it first" in assert_problem(cancelled, 409)["detail"]
    assert_problem(client.post("/jobs/none/extend", json={"trials": 40}), 404)


def test_a_job_with_a_plan_has_no_search_to_extend(client, spec, stores, assert_problem):
    spec["plan"] = {"layer1.0": "shift"}
    job = with_trials(client.post("/jobs", json=spec).json()["id"], stores)

    problem = assert_problem(client.post(f"/jobs/{job}/extend", json={"trials": 1}), 409)

    assert "submit one with a budget" in problem["detail"]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "trials"),
        ({"trials": 0}, "trials"),
        ({"trials": 1.5}, "trials"),
        ({"trials": 10**6}, "trials"),
        ({"trials": 4, "time_limit_s": 0}, "time_limit_s"),
        ({"trials": 4, "patience": 3}, "patience"),
    ],
)
def test_an_extension_that_cannot_be_names_its_field(
    client, job, stores, assert_problem, asked, field
):
    assert_problem(client.post(f"/jobs/{job}/extend", json=asked), 422, field=field)
    assert stores.jobs.get(job).status is JobStatus.SUCCEEDED


@pytest.mark.parametrize(("call", "asked"), [("students", {"trial": 0}), ("extend", {"trials": 4})])
def test_a_job_whose_images_are_gone_goes_no_further(
    client, spec, stores, assert_problem, call, asked
):
    """Found out now, and not by its worker: the job stays as good as it is."""
    upload = client.post("/datasets", files={"file": ("pets.zip", io.BytesIO(b"images"))}).json()
    spec["dataset"] = {"source": upload["reference"]}
    job = with_trials(client.post("/jobs", json=spec).json()["id"], stores)
    assert client.delete(f"/datasets/{upload['id']}").status_code == 204

    problem = assert_problem(client.post(f"/jobs/{job}/{call}", json=asked), 409)

    assert upload["reference"] in problem["detail"]
    assert stores.jobs.get(job).status is JobStatus.SUCCEEDED


@pytest.mark.parametrize("call", ["students", "extend"])
def test_more_is_asked_for_as_json(client, job, assert_problem, call):
    form = client.post(f"/jobs/{job}/{call}", data={"trial": "0"})
    assert_problem(form, 415)
    headers = {"content-type": "application/json"}
    broken = client.post(f"/jobs/{job}/{call}", content="{", headers=headers)
    assert_problem(broken, 400)
