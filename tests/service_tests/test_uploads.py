"""Uploads over HTTP, the same for teachers and data sets."""

import hashlib

import pytest

from pareconv.models.errors import WeightsError
from pareconv.search.errors import InvalidSpec, JobFailed, TaskDied, TaskTimeout
from pareconv.storage.errors import FilesUnavailable

CONTENT = b"some weights"


def files_of(stores):
    return [path for path in stores.files._folder.rglob("*") if path.is_file()]


def send(client, kind, content=CONTENT, **more):
    return client.post(f"/{kind}s", files={"file": ("my weights.pt", content)}, **more)


TASKS = {"teacher": "check_teacher", "dataset": "check_dataset"}


@pytest.fixture(params=["teacher", "dataset"])
def kind(request):
    return request.param


def test_an_upload_is_checked_and_kept(client, stores, runner, kind):
    response = send(client, kind)

    upload = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/{kind}s/{upload['id']}"
    assert upload["reference"] == f"{kind}:{upload['id']}"
    assert (upload["name"], upload["filename"]) == ("my weights", "my weights.pt")
    assert upload["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert upload["bytes"] == len(CONTENT)
    assert upload["summary"] == runner.answers[TASKS[kind]]
    assert client.get(response.headers["location"]).json() == upload
    assert client.get(f"/{kind}s").json() == {"items": [upload], "next": None}
    assert stores.files.local_path(upload["sha256"]).read_bytes() == CONTENT


def test_an_upload_may_have_a_name(client, kind):
    assert send(client, kind, data={"name": "best so far"}).json()["name"] == "best so far"


@pytest.mark.parametrize("filename", ["../../etc/passwd", "..\\..\\passwd", "/etc/passwd"])
def test_a_file_name_keeps_no_folder(client, filename):
    upload = client.post("/teachers", files={"file": (filename, CONTENT)}).json()

    assert upload["filename"] == "passwd"


def test_the_same_bytes_again_give_the_first_upload(client, runner, kind):
    first, again = send(client, kind), send(client, kind)

    assert again.status_code == 201
    assert again.json() == first.json()
    assert len(runner.calls) == 1


@pytest.mark.parametrize(
    "error",
    [
        InvalidSpec("dataset.source", "has one class"),
        WeightsError("truncated"),
        JobFailed("no images"),
        TaskDied("was killed"),
        TaskTimeout("too slow"),
        RuntimeError("a defect"),
    ],
)
def test_a_refused_upload_leaves_nothing_behind(
    client, stores, runner, assert_problem, kind, error
):
    runner.answers[TASKS[kind]] = error

    status = {TaskTimeout: 504, RuntimeError: 500}.get(type(error), 422)
    problem = assert_problem(send(client, kind), status)

    assert files_of(stores) == []
    assert client.get(f"/{kind}s").json()["items"] == []
    if isinstance(error, InvalidSpec | WeightsError | JobFailed):
        assert problem["errors"][0]["field"] == "file"


def test_a_file_that_crashes_its_check_is_told_so(client, runner, assert_problem, kind):
    runner.answers[TASKS[kind]] = TaskDied("its process was killed by SIGKILL")

    problem = assert_problem(send(client, kind), 422)

    assert "crashed or ran out of memory" in problem["detail"]


def test_a_refused_upload_leaves_the_same_bytes_of_another_kind(client, stores, runner):
    send(client, "teacher")
    runner.answers["check_dataset"] = InvalidSpec("dataset.source", "is no zip")

    assert send(client, "dataset").status_code == 422
    assert len(files_of(stores)) == 1


def test_a_missing_file_is_named(client, assert_problem, kind):
    response = client.post(f"/{kind}s", files={"weights": b"x"})

    assert_problem(response, 422, field="file")


def test_a_file_sent_as_text_is_refused(client, assert_problem, kind):
    assert_problem(client.post(f"/{kind}s", files={"file": (None, "text")}), 422, field="file")


def test_a_deleted_upload_is_gone_with_its_file(client, stores, assert_problem, kind):
    location = send(client, kind).headers["location"]

    assert client.delete(location).status_code == 204
    assert_problem(client.get(location), 404)
    assert_problem(client.delete(location), 404)
    assert files_of(stores) == []


def test_a_deleted_upload_leaves_a_file_that_is_also_an_export(client, spec, stores):
    upload = send(client, "teacher").json()
    job = client.post("/jobs", json=spec).json()["id"]
    stores.candidates.create(job, {}, flops=1, adds=0, params=1)
    stores.artifacts.put(
        job, 0, format="pt2", sha256=upload["sha256"], size_bytes=1, filename="a.pt2"
    )

    client.delete(f"/teachers/{upload['id']}")

    assert client.get(f"/jobs/{job}/students/0/pt2").content == CONTENT


def test_a_deleted_upload_leaves_a_file_that_a_library_needs(client, stores, library):
    upload = send(client, "teacher").json()
    entry = {"block": "a", "option": "shift", "version": 1, "rungs": 1, "settled": True}
    entry |= {"images": 1, "loss": 0.1, "flops": -1, "params": -1, "adds": 0}
    stores.libraries.claim(library.id, "w", 60)
    stores.libraries.put(library.id, "w", [entry | {"weights": upload["sha256"]}], 1.0)

    client.delete(f"/teachers/{upload['id']}")

    assert stores.files.local_path(upload["sha256"]).read_bytes() == CONTENT


def test_an_upload_that_an_unfinished_job_names_stays(client, spec, assert_problem, kind):
    upload = send(client, kind).json()
    section, key = {"teacher": ("teacher", "weights"), "dataset": ("dataset", "source")}[kind]
    spec[section][key] = upload["reference"]
    job = client.post("/jobs", json=spec).json()["id"]

    problem = assert_problem(client.delete(f"/{kind}s/{upload['id']}"), 409)
    assert job in problem["detail"]

    client.post(f"/jobs/{job}/cancel")
    assert client.delete(f"/{kind}s/{upload['id']}").status_code == 204


def test_uploads_are_listed_newest_first_in_pages(client, kind):
    ids = [send(client, kind, content).json()["id"] for content in (b"a", b"b", b"c")]

    first = client.get(f"/{kind}s", params={"limit": 2}).json()
    rest = client.get(f"/{kind}s", params={"limit": 2, "cursor": first["next"]}).json()

    assert [each["id"] for each in first["items"] + rest["items"]] == ids[::-1]


def test_an_upload_beyond_the_quota_is_refused_with_the_remedy(client_of, kind, assert_problem):
    client = client_of(quota_bytes=20)
    assert send(client, kind).status_code == 201

    problem = assert_problem(send(client, kind, b"other weights"), 507)

    assert problem["type"] == "/problems/quota-reached"
    for words in ("12 of 20 bytes", "13 more", "pareconv gc", "PARECONV_QUOTA_BYTES"):
        assert words in problem["detail"]
    assert client.get("/readyz").status_code == 200
    stores = client.app.state.stores
    assert [path.read_bytes() for path in files_of(stores)] == [CONTENT]


def test_an_upload_that_cannot_be_kept_is_told_so(
    client, stores, kind, assert_problem, monkeypatch
):
    def refuse(*_):
        raise FilesUnavailable("the artifact store does not answer as it should")

    monkeypatch.setattr(stores.files, "put_stream", refuse)
    problem = assert_problem(send(client, kind), 503)
    assert problem["type"] == "/problems/files-unavailable"


def test_a_deleted_upload_that_a_running_job_may_be_about_to_name_is_left_to_gc(
    client, spec, stores, kind
):
    client.post("/jobs", json=spec)
    stores.jobs.claim("w", 60)
    upload = send(client, kind).json()

    assert client.delete(f"/{kind}s/{upload['id']}").status_code == 204

    assert stores.files.exists(upload["sha256"])
