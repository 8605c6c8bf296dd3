"""Pausing, and priorities, over HTTP."""

import json

import pytest

from pareconv.service.client import Client
from pareconv.storage.jobs import JobStatus


@pytest.fixture
def job(client, spec):
    return client.post("/jobs", json=spec).json()["id"]


def test_a_waiting_job_is_paused_at_once_and_resumed(client, job):
    for _ in range(2):
        response = client.post(f"/jobs/{job}/pause")
        assert (response.status_code, response.json()["status"]) == (200, "paused")

    assert client.post(f"/jobs/{job}/resume").json()["status"] == "queued"


def test_a_running_job_is_asked_to_pause(client, stores, job):
    stores.jobs.claim("w", 60)

    assert client.post(f"/jobs/{job}/pause").json()["status"] == "pausing"
    assert client.get("/jobs?status=pausing").json()["items"][0]["id"] == job


def test_what_has_ended_is_not_paused(client, job, assert_problem):
    client.post(f"/jobs/{job}/cancel")

    problem = assert_problem(client.post(f"/jobs/{job}/pause"), 409)

    assert "only a job that is queued or running" in problem["detail"]


def test_the_most_urgent_job_goes_first(client, stores, spec):
    low, high = (client.post(f"/jobs?priority={p}", json=spec).json() for p in (-3, 4))
    usual = client.post("/jobs", json=spec).json()
    assert [each["priority"] for each in (low, high, usual)] == [-3, 4, 0]

    changed = client.patch(f"/jobs/{low['id']}", json={"priority": 5})

    assert (changed.status_code, changed.json()["priority"]) == (200, 5)
    order = [stores.jobs.claim("w", 60).id for _ in range(3)]
    assert order == [low["id"], high["id"], usual["id"]]


def test_a_priority_comes_along_with_files(client, spec):
    sent = {"spec": (None, json.dumps(spec)), "model": ("m.pt", b"weights")}

    assert client.post("/jobs?priority=7", files=sent).json()["priority"] == 7


def test_a_running_job_keeps_its_priority(client, stores, job, assert_problem):
    stores.jobs.claim("w", 60)

    problem = assert_problem(client.patch(f"/jobs/{job}", json={"priority": 5}), 409)

    assert "is running; only while it is queued" in problem["detail"]
    assert stores.jobs.get(job).status is JobStatus.RUNNING


@pytest.mark.parametrize("value", [1001, -1001, "5", 0.5, None, True])
def test_a_priority_that_is_none_is_refused(client, job, assert_problem, value):
    response = client.patch(f"/jobs/{job}", json={"priority": value})

    assert_problem(response, 422, field="priority")


def test_a_job_is_submitted_with_a_priority_within_bounds(client, spec, assert_problem):
    assert_problem(client.post("/jobs?priority=1001", json=spec), 422, field="priority")
    assert client.get("/jobs").json()["items"] == []


def test_the_client_steers(client, stores, spec):
    with Client(str(client.base_url)) as steering:
        job = steering.jobs.create(spec, priority=2)
        assert job.priority == 2
        assert job.prioritize(-1).priority == -1
        assert job.pause().status == "paused"
        assert job.resume().status == "queued"
