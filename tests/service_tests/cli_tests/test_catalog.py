"""`architectures`, `operators`, `methods` and `uploads`: what a spec can name."""

import json

import pytest

CONTENT = b"weights"


@pytest.fixture
def upload(client):
    files = {"file": ("resnet8.pt", CONTENT)}
    return client.post("/teachers", files=files, data={"name": "mine"}).json()


def test_architectures_are_listed_by_a_part_of_their_name(run):
    listed = run("architectures", "RESNET").stdout
    assert "cifar_resnet8" in listed
    assert "vgg11" not in listed
    assert "vgg11" in run("architectures").stdout
    assert "No architecture's name has 'nothing'" in run("architectures", "nothing").stdout


@pytest.mark.parametrize("command", ["architectures", "operators", "methods"])
def test_a_catalog_is_a_table_of_80_columns_and_the_servers_answer_as_json(command, run, client):
    items = client.get(f"/{command}").json()["items"]
    assert json.loads(run(command, "--json").stdout) == items
    listed = run(command).stdout
    assert max(map(len, listed.splitlines())) <= 80
    assert all(item["name"] in listed for item in items)


def test_uploads_are_listed_with_the_reference_that_a_spec_takes(run, upload):
    listed = run("uploads").stdout
    assert upload["reference"] in listed
    assert "mine" in listed
    (found,) = json.loads(run("uploads", "--json").stdout)
    assert found["reference"] == upload["reference"]


def test_an_upload_is_deleted(run, upload, client):
    result = run("uploads", "delete", upload["reference"])
    assert result.stdout == f"Upload {upload['reference']} is deleted\n"
    assert client.get("/teachers").json()["items"] == []
    assert "No uploads" in run("uploads").stdout


@pytest.mark.parametrize("named", ["teacher:", "job:1", "resnet8.pt"])
def test_what_is_no_upload_is_exit_code_2(named, run):
    result = run("uploads", "delete", named)
    assert result.exit_code == 2
    assert f"{named!r} is no upload; `pareconv uploads` lists them" in result.stderr
