"""Download of a student's files."""

import hashlib
import io

import pytest

CONTENT = b"onnx bytes" * 1000
PAGE = "<!DOCTYPE html><title>Käfer</title>".encode()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def job(client, spec, stores):
    id = client.post("/jobs", json=spec).json()["id"]
    for _ in range(3):
        stores.candidates.create(id, {}, flops=1, adds=0, params=1)
    stores.files.put_stream(io.BytesIO(CONTENT))
    for number, format in ((1, "onnx"), (1, "pt2"), (2, "onnx")):
        stores.artifacts.put(
            id,
            number,
            format=format,
            sha256=SHA256,
            size_bytes=len(CONTENT),
            filename=f"student-{number}.{format}",
        )
    stores.files.put_stream(io.BytesIO(PAGE))
    page = {"sha256": hashlib.sha256(PAGE).hexdigest(), "size_bytes": len(PAGE)}
    stores.artifacts.put(id, 2, format="report", filename="student-2.html", **page)
    return id


def test_a_report_is_shown_in_place_and_can_do_nothing(client, job):
    response = client.get(f"/jobs/{job}/students/2/report")

    assert response.content == PAGE
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-disposition"] == 'inline; filename="student-2.html"'
    assert response.headers["x-content-type-options"] == "nosniff"
    policy = response.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "style-src 'unsafe-inline'", "sandbox"} <= set(policy)
    assert not any("script-src" in each or "allow-" in each for each in policy)

    tag = {"If-None-Match": response.headers["etag"]}
    assert client.get(f"/jobs/{job}/students/2/report", headers=tag).status_code == 304


def test_a_file_comes_whole_with_its_name_and_hash(client, job):
    response = client.get(f"/jobs/{job}/students/1/onnx")

    assert response.status_code == 200
    assert response.content == CONTENT
    assert response.headers["etag"] == f'"{SHA256}"'
    assert response.headers["content-disposition"] == 'attachment; filename="student-1.onnx"'
    assert response.headers["content-length"] == str(len(CONTENT))
    assert response.headers["content-type"] == "application/octet-stream"
    assert "sandbox" not in response.headers["content-security-policy"]


def test_a_part_of_a_file_can_be_asked_for(client, job):
    response = client.get(f"/jobs/{job}/students/1/onnx", headers={"Range": "bytes=10-19"})

    assert (response.status_code, response.content) == (206, CONTENT[10:20])


def test_a_file_that_the_client_has_is_304(client, job):
    headers = {"If-None-Match": f'"{SHA256}"'}

    assert client.get(f"/jobs/{job}/students/1/onnx", headers=headers).status_code == 304


def test_a_format_that_was_not_made_names_those_that_were(client, job, assert_problem):
    problem = assert_problem(client.get(f"/jobs/{job}/students/1/safetensors"), 404)

    assert "onnx, pt2" in problem["detail"]


def test_a_trial_without_files_names_those_with_files(client, job, assert_problem):
    problem = assert_problem(client.get(f"/jobs/{job}/students/0/onnx"), 404)

    assert "1, 2" in problem["detail"]


def test_a_damaged_file_is_not_handed_out(client, job, stores, assert_problem):
    stores.files.local_path(SHA256).write_bytes(b"other bytes")

    problem = assert_problem(client.get(f"/jobs/{job}/students/1/onnx"), 500)

    assert "damaged" in problem["detail"]
