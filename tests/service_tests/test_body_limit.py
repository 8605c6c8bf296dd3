"""Bodies over the limit, said or found out while they stream in."""

import json


def chunks(total_bytes):
    for _ in range(total_bytes // 1000):
        yield b"x" * 1000


def test_a_json_body_over_the_limit_is_413(client_of, spec, assert_problem):
    client = client_of(max_body_bytes=5000)
    spec["name"] = "x" * 6000

    for path in ("/jobs", "/inspect"):
        problem = assert_problem(client.post(path, json=spec), 413)
        assert "5,000" in problem["detail"]


def test_a_body_that_does_not_say_its_length_is_counted(client_of, assert_problem):
    client = client_of(max_body_bytes=5000)
    headers = {"content-type": "application/json"}

    for path in ("/jobs", "/inspect"):
        assert_problem(client.post(path, content=chunks(9000), headers=headers), 413)


def test_a_body_under_the_limit_passes(client_of, spec):
    client = client_of(max_body_bytes=5000)
    text = json.dumps(spec) + " " * 3000

    response = client.post("/jobs", content=text, headers={"content-type": "application/json"})

    assert response.status_code == 201


def test_an_upload_has_a_limit_of_its_own(client_of, stores, assert_problem):
    client = client_of(max_body_bytes=2000, max_upload_bytes=10_000)

    kept = client.post("/teachers", files={"file": ("m.pt", b"x" * 10_000)})
    refused = client.post("/teachers", files={"file": ("m.pt", b"y" * 10_001)})

    assert kept.status_code == 201
    assert "10,000" in assert_problem(refused, 413)["detail"]
    folder = client.app.state.stores.files._folder
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 1


def test_an_upload_far_over_the_limit_is_not_even_read(client_of, assert_problem):
    client = client_of(max_body_bytes=2000, max_upload_bytes=10_000)

    assert_problem(client.post("/datasets", files={"file": b"x" * 100_000}), 413)


def test_multipart_does_not_lift_the_limit_elsewhere(client_of, assert_problem):
    client = client_of(max_body_bytes=2000)
    headers = {"content-type": "multipart/form-data; boundary=x"}

    assert_problem(client.post("/latencies/bundles", content=b"x" * 5000, headers=headers), 413)
