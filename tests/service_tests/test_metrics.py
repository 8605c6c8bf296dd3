"""What Prometheus reads, and what a request leaves behind."""

import logging

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pareconv.service.app import create_app
from pareconv.storage.jobs import Stage
from pareconv.storage.workers import WorkerStore


@pytest.fixture
def read(client):
    def read():
        response = client.get("/metrics")
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/plain")
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(response.text)
            for sample in family.samples
        }

    return read


def key(name, /, **labels):
    return (f"pareconv_{name}", frozenset(labels.items()))


@pytest.fixture
def job(client, spec):
    return client.post("/jobs", json=spec).json()["id"]


def test_jobs_trials_and_times_are_those_of_the_database(read, client, stores, job, spec):
    client.post("/jobs", json=spec)
    stores.jobs.claim("w", 60)
    stores.jobs.update(job, owner="w", stage=Stage.SEARCH)
    for number in range(3):
        stores.candidates.create(job, {"a": str(number)}, flops=1, adds=0, params=1)
    stores.candidates.fail(job, 0, "diverged")

    found = read()

    assert found[key("jobs", status="queued")] == found[key("jobs", status="running")] == 1
    assert found[key("jobs", status="failed")] == 0
    assert found[key("trials", state="running")] == 2
    assert found[key("trials_per_hour", state="failed")] == 1
    assert found[key("queue_wait_seconds_count")] == 1
    assert found[key("queue_wait_seconds_sum")] >= 0
    assert found[key("queue_oldest_seconds")] >= 0
    assert found[key("stage_seconds_total", stage="profile")] >= 0
    assert found[key("workers")] == 0


def test_gpus_are_those_that_workers_see(read, client):
    workers = WorkerStore(client.app.state.stores.database)
    gpu = {"id": "GPU-1", "name": "H100", "used_bytes": 10, "total_bytes": 80}
    workers.saw("a", host="one", gpus=[gpu])
    workers.saw("b", host="one", gpus=[gpu | {"used_bytes": 20}])
    workers.saw("c", host="two")

    found = read()

    assert found[key("workers")] == 3
    labels = {"host": "one", "gpu": "GPU-1", "name": "H100"}
    assert found[key("gpu_memory_used_bytes", **labels)] == 20
    assert found[key("gpu_memory_total_bytes", **labels)] == 80


def test_latencies_are_by_route_and_not_by_address(read, client, job):
    for id in (job, "nowhere", "elsewhere"):
        client.get(f"/jobs/{id}")
    client.request("BREW", "/no/such/address")

    found = read()

    def count(method, route, status):
        return found[key("request_seconds_count", method=method, route=route, status=status)]

    assert count("GET", "/jobs/{job_id}", "200") == 1
    assert count("GET", "/jobs/{job_id}", "404") == 2
    assert count("POST", "/jobs", "201") == 1
    assert count("other", "unknown", "404") == 1
    assert not any(job in str(labels) for _, labels in found)


def test_each_app_counts_for_itself(client_of, client, settings):
    client.get("/version")
    other = client_of(home=settings.home.parent / "other")

    assert 'route="/version"' in client.get("/metrics").text
    assert 'route="/version"' not in other.get("/metrics").text
    assert create_app(settings).state.latencies is not client.app.state.latencies


def test_every_answer_has_an_id_the_clients_own_if_it_is_one(client):
    given = client.get("/healthz", headers={"X-Request-ID": "mine-7"})
    assert given.headers["x-request-id"] == "mine-7"
    made = [client.get("/jobs/none").headers["x-request-id"] for _ in range(2)]
    assert made[0] != made[1]
    for hostile in ("x" * 65, "a b", "é".encode().decode("latin-1")):
        answer = client.get("/healthz", headers={"X-Request-ID": hostile.encode("latin-1")})
        assert answer.headers["x-request-id"] != hostile


def test_what_changes_or_fails_is_logged_what_is_only_read_is_not(client, job, caplog):
    with caplog.at_level(logging.INFO, logger="pareconv.service.requests"):
        client.get(f"/jobs/{job}")
        client.get("/jobs/none?token=secret")
        client.post(f"/jobs/{job}/cancel")

    records = [each for each in caplog.records if each.name == "pareconv.service.requests"]
    lines = [each.getMessage() for each in records]

    assert [line.split(" in ")[0] for line in lines] == [
        "GET /jobs/none: 404",
        f"POST /jobs/{job}/cancel: 200",
    ]
    fields = records[-1].fields
    assert (fields["method"], fields["status"]) == ("POST", 200)
