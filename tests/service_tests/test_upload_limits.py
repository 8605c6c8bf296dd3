"""Uploads: each owner's own, so many of them, and in so much time."""

import http.client
import io
import json
from urllib.parse import urlsplit

import pytest

from pareconv.storage.tokens import Scope


def file(content=b"weights"):
    return {"files": {"file": ("m.pt", io.BytesIO(content))}}


@pytest.fixture
def headers_of(stores):
    def make(scope=Scope.SUBMIT):
        return {"authorization": f"Bearer {stores.tokens.create(scope)[1]}"}

    return make


def stored(stores):
    return [path for path in stores.files._folder.rglob("*") if path.is_file()]


def test_the_same_file_of_two_is_there_once_and_stays_for_the_other(client, stores, headers_of):
    ann, bob = headers_of(), headers_of()
    first, second = (client.post("/teachers", headers=each, **file()).json() for each in (ann, bob))
    assert first["id"] != second["id"]
    assert first["sha256"] == second["sha256"]
    assert len(stored(stores)) == 1
    assert client.delete(f"/teachers/{first['id']}", headers=ann).status_code == 204
    assert client.get(f"/teachers/{second['id']}", headers=bob).status_code == 200
    assert len(stored(stores)) == 1
    assert client.delete(f"/teachers/{second['id']}", headers=bob).status_code == 204
    assert stored(stores) == []


def test_nothing_tells_that_another_sent_the_same(client, headers_of, runner):
    for headers in (headers_of(), headers_of()):
        assert client.post("/datasets", headers=headers, **file()).json()["name"] == "m"
    assert runner.tasks() == ["check_dataset"] * 2  # looked at anew


def test_a_spec_is_looked_at_as_far_as_its_sender_sees(client, stores, headers_of, runner, spec):
    sent = {Scope.SUBMIT: headers_of(), Scope.ADMIN: headers_of(Scope.ADMIN)}
    by_scope = {token.scope: token for token in stores.tokens.all()}
    for scope, headers in sent.items():
        for path in ("/jobs", "/inspect"):
            client.post(path, json=spec, headers=headers)
            _, payload = runner.calls[-1]
            assert payload["access"] == by_scope[scope].access.to_json()


def test_an_admin_s_job_holds_another_s_upload_and_is_not_named(
    client, headers_of, assert_problem, spec
):
    ann, admin = headers_of(), headers_of(Scope.ADMIN)
    teacher = client.post("/teachers", headers=ann, **file()).json()
    spec["teacher"]["weights"] = teacher["reference"]
    job = client.post("/jobs", json=spec, headers=admin).json()
    refused = client.delete(f"/teachers/{teacher['id']}", headers=ann)
    assert job["id"] not in assert_problem(refused, 409)["detail"]
    refused = client.delete(f"/teachers/{teacher['id']}", headers=admin)
    assert job["id"] in assert_problem(refused, 409)["detail"]


def test_a_token_has_so_many_uploads(client_of, assert_problem):
    client = client_of(max_uploads_per_token=2)
    create = client.app.state.stores.tokens.create
    ann, bob = ({"authorization": f"Bearer {create(Scope.SUBMIT)[1]}"} for _ in range(2))
    kept = client.post("/teachers", headers=ann, **file(b"a")).json()
    client.post("/datasets", headers=ann, **file(b"b"))
    problem = assert_problem(client.post("/teachers", headers=ann, **file(b"c")), 409)
    assert problem["type"] == "/problems/too-many-uploads"
    assert "2" in problem["detail"]
    assert len(stored(client.app.state.stores)) == 2
    assert client.post("/teachers", headers=ann, **file(b"a")).json() == kept
    assert client.post("/teachers", headers=bob, **file(b"c")).status_code == 201
    client.delete(f"/teachers/{kept['id']}", headers=ann)
    assert client.post("/teachers", headers=ann, **file(b"c")).status_code == 201


def test_a_job_s_files_count_too_and_leave_nothing_when_refused(client_of, assert_problem, spec):
    client = client_of(max_uploads_per_token=1)
    del spec["dataset"]["source"]
    parts = {"spec": (None, json.dumps(spec), "application/json")}
    parts |= {"model": ("m.pt", b"model"), "data": ("d.zip", b"data")}
    assert_problem(client.post("/jobs", files=parts), 409)
    assert stored(client.app.state.stores) == []
    assert client.get("/teachers").json()["items"] == []


@pytest.mark.parametrize("path", ["/datasets", "/jobs"])
def test_a_body_that_never_ends_is_stopped(client_of, path):
    client = client_of(max_upload_seconds=1)
    server = urlsplit(str(client.base_url))
    connection = http.client.HTTPConnection(server.hostname, server.port, timeout=30)
    connection.putrequest("POST", path)
    connection.putheader("content-type", "multipart/form-data; boundary=x")
    connection.putheader("content-length", "1000000")
    connection.endheaders(b"--x\r\n")  # and no more ever comes
    response = connection.getresponse()
    assert response.status == 408
    assert "PARECONV_MAX_UPLOAD_SECONDS" in json.loads(response.read())["detail"]
    connection.close()
    assert stored(client.app.state.stores) == []
