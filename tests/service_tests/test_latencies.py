"""Latencies over HTTP: bundles go out, tables come back."""

import time
import zipfile
from pathlib import Path

import pytest

from pareconv.search.errors import InvalidSpec

ENTRY = {
    "key": "a" * 64,
    "option": "svd(ratio=0.5)",
    "shape": "1x16x32x32",
    "ms": 0.25,
    "kept_ms": 0.5,
    "spread_ms": 0.01,
}
TABLE = {
    "device": "a small board",
    "runtime": "onnxruntime",
    "batch": 1,
    "threads": 4,
    "versions": {"onnxruntime": "1.31"},
    "entries": [ENTRY],
}


def test_a_table_is_kept_shown_and_deleted(client):
    made = client.post("/latencies", json=TABLE)
    assert made.status_code == 201
    found = made.json()
    assert made.headers["location"] == f"/latencies/{found['id']}"
    assert found["reference"] == f"latency:{found['id']}"
    assert {name: found[name] for name in TABLE if name != "entries"} == {
        name: value for name, value in TABLE.items() if name != "entries"
    }
    assert found["size"] == 1
    assert client.get("/latencies").json()["items"] == [found]
    assert client.get(f"/latencies/{found['id']}").json() == found | {"entries": [ENTRY]}
    assert client.delete(f"/latencies/{found['id']}").status_code == 204
    assert client.get(f"/latencies/{found['id']}").status_code == 404


def test_the_same_device_again_adds_to_its_table(client):
    first = client.post("/latencies", json=TABLE).json()
    more = [ENTRY | {"ms": 9.0}, ENTRY | {"key": "b" * 64}]
    again = client.post("/latencies", json=TABLE | {"entries": more}).json()
    assert (again["id"], again["size"]) == (first["id"], 2)
    kept = client.get(f"/latencies/{first['id']}").json()["entries"]
    assert [each["ms"] for each in kept] == [0.25, 0.25]
    other = client.post("/latencies", json=TABLE | {"device": "another"}).json()
    assert other["id"] != first["id"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"runtime": "tensorrt"}, "runtime"),
        ({"batch": 0}, "batch"),
        ({"entries": []}, "entries"),
        ({"entries": [ENTRY | {"ms": -1}]}, "entries.0.ms"),
        ({"entries": [ENTRY | {"key": "../etc"}]}, "entries.0.key"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_what_is_no_table_is_refused(change, field, client):
    answer = client.post("/latencies", json=TABLE | change)
    assert answer.status_code == 422
    assert [each["field"] for each in answer.json()["errors"]] == [field]
    assert client.get("/latencies").json()["items"] == []


def test_a_bundle_is_sent_and_leaves_nothing_behind(client, runner, spec):
    places = []

    def write(payload):
        places.append(Path(payload["path"]))
        with zipfile.ZipFile(payload["path"], "w") as archive:
            archive.writestr("bundle.json", "{}")
        return {"parts": 3}

    runner.answers["bundle"] = write
    answer = client.post("/latencies/bundles", json=spec | {"budget": {"latency": {"ms": "60%"}}})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert answer.content.startswith(b"PK")
    (path,) = places
    for _ in range(200):  # it is deleted once the answer is sent
        if not path.exists():
            return
        time.sleep(0.01)
    pytest.fail(f"{path} is still there")


def test_a_bundle_that_cannot_be_made_leaves_nothing_behind(client, runner, spec):
    places = []

    def refuse(payload):
        places.append(Path(payload["path"]))
        raise InvalidSpec("budget.latency.runtime", "give one")

    runner.answers["bundle"] = refuse
    answer = client.post("/latencies/bundles", json=spec)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"field": "budget.latency.runtime", "message": "give one"}]
    assert [path.exists() for path in places] == [False]
