"""A model, data and a budget in one multipart call."""

import json

import pytest

from pareconv.search.errors import InvalidSpec


def files_of(stores):
    return [path for path in stores.files._folder.rglob("*") if path.is_file()]


def parts(spec, **files):
    sent = {name: (f"{name}.bin", content) for name, content in files.items()}
    return {"data": {"spec": json.dumps(spec)}, "files": sent}


def test_model_and_data_become_uploads_that_the_spec_names(client, spec, stores, runner):
    del spec["dataset"]

    response = client.post("/jobs", **parts(spec, model=b"weights", data=b"images"))

    assert response.status_code == 201, response.text
    job = response.json()
    [teacher] = client.get("/teachers").json()["items"]
    [dataset] = client.get("/datasets").json()["items"]
    assert job["spec"]["teacher"]["weights"] == teacher["reference"]
    assert job["spec"]["dataset"]["source"] == dataset["reference"]
    assert teacher["summary"] == runner.answers["check_teacher"]
    assert runner.tasks() == ["check_teacher", "check_dataset", "inspect"]
    assert runner.calls[-1][1]["spec"] == job["spec"]


def test_files_to_inspect_are_not_kept(client, spec, stores, runner):
    del spec["dataset"]

    response = client.post("/inspect", **parts(spec, model=b"weights", data=b"images"))

    assert response.status_code == 200, response.text
    assert response.json() == runner.answers["inspect"]
    assert runner.tasks() == ["check_teacher", "check_dataset", "inspect"]
    assert files_of(stores) == []
    assert client.get("/teachers").json()["items"] == []


@pytest.mark.parametrize("path", ["/jobs", "/inspect"])
def test_what_is_wrong_with_a_file_that_came_along_is_told_by_its_name(
    client, spec, runner, assert_problem, path
):
    def refuse(payload):
        reference = payload["spec"]["teacher"]["weights"]
        raise InvalidSpec("teacher.weights", f"{reference} is a whole network")

    runner.answers["inspect"] = refuse
    problem = assert_problem(
        client.post(path, **parts(spec, model=b"weights")), 422, field="teacher.weights"
    )
    assert problem["errors"][0]["message"] == "model.bin is a whole network"


def test_a_file_to_inspect_that_was_there_before_stays(client, spec, stores):
    client.post("/teachers", files={"file": ("m.pt", b"weights")})

    assert client.post("/inspect", **parts(spec, model=b"weights")).status_code == 200
    assert len(client.get("/teachers").json()["items"]) == 1
    assert len(files_of(stores)) == 1


def test_the_spec_may_come_as_a_file(client, spec):
    sent = {
        "spec": ("spec.json", json.dumps(spec), "application/json"),
        "model": ("m.pt", b"weights"),
    }

    assert client.post("/jobs", files=sent).status_code == 201


def test_multipart_with_a_spec_alone_is_a_job(client, spec):
    sent = {"spec": (None, json.dumps(spec))}

    assert client.post("/jobs", files=sent).status_code == 201


@pytest.mark.parametrize("refusing", ["check_teacher", "check_dataset", "inspect"])
def test_a_refused_request_leaves_nothing_behind(
    client, spec, stores, runner, assert_problem, refusing
):
    del spec["dataset"]
    runner.answers[refusing] = InvalidSpec("anything", "cannot work")

    response = client.post("/jobs", **parts(spec, model=b"weights", data=b"images"))

    field = {"check_teacher": "model", "check_dataset": "data", "inspect": "anything"}[refusing]
    assert_problem(response, 422, field=field)
    assert files_of(stores) == []
    for kind in ("teacher", "dataset"):
        assert stores.uploads[kind].page(10) == ([], None)
    assert stores.jobs.page(10) == ([], None)


def test_a_refused_request_keeps_what_was_there_before(client, spec, stores, runner):
    client.post("/teachers", files={"file": ("m.pt", b"weights")})
    runner.answers["inspect"] = InvalidSpec("teacher.weights", "do not fit")

    client.post("/jobs", **parts(spec, model=b"weights"))

    assert len(client.get("/teachers").json()["items"]) == 1
    assert len(files_of(stores)) == 1


def test_a_wrong_spec_is_refused_before_the_files_are_looked_at(
    client, spec, runner, assert_problem
):
    spec["budget"] = {}

    response = client.post("/jobs", **parts(spec, model=b"weights"))

    assert_problem(response, 422, field="budget")
    assert runner.calls == []


def test_weights_given_twice_are_refused(client, spec, assert_problem):
    spec["teacher"]["weights"] = "default"

    response = client.post("/jobs", **parts(spec, model=b"weights"))

    assert_problem(response, 422, field="teacher.weights")


def test_an_unknown_part_is_refused(client, spec, assert_problem):
    assert_problem(client.post("/jobs", **parts(spec, weights=b"w")), 422, field="weights")


def test_a_missing_spec_is_refused(client, assert_problem):
    assert_problem(client.post("/jobs", files={"model": b"weights"}), 422, field="spec")


def test_a_model_that_is_no_file_is_refused(client, spec, assert_problem):
    sent = {"spec": (None, json.dumps(spec)), "model": (None, "weights")}

    assert_problem(client.post("/jobs", files=sent), 422, field="model")


def test_a_spec_part_that_is_not_json_is_refused(client, assert_problem):
    assert_problem(client.post("/jobs", files={"spec": (None, "{teacher")}), 400)


def test_a_teacher_that_is_no_object_is_refused(client, spec, assert_problem):
    spec["teacher"] = "resnet18"

    response = client.post("/jobs", **parts(spec, model=b"weights"))

    assert_problem(response, 422, field="teacher")


def test_the_same_key_and_files_give_the_first_job(client, spec):
    headers = {"Idempotency-Key": "k"}

    first = client.post("/jobs", **parts(spec, model=b"weights"), headers=headers)
    again = client.post("/jobs", **parts(spec, model=b"weights"), headers=headers)

    assert again.status_code == 201
    assert again.json()["id"] == first.json()["id"]


def test_the_same_key_with_another_file_is_refused_and_the_file_dropped(
    client, spec, stores, assert_problem
):
    headers = {"Idempotency-Key": "k"}
    client.post("/jobs", **parts(spec, model=b"weights"), headers=headers)

    other = client.post("/jobs", **parts(spec, model=b"other weights"), headers=headers)

    assert_problem(other, 422, field="Idempotency-Key")
    assert len(stores.uploads["teacher"].page(10)[0]) == len(files_of(stores)) == 1
