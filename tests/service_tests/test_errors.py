"""Whatever is wrong with a request, the answer is a problem that says what and where."""

import json

import pytest


@pytest.fixture(scope="module")
def client(shared_client):
    return shared_client


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"budget": {"flops": 0}}, "budget.flops", "0 is not above 0"),
        ({"budget": {"flops": -5}}, "budget.flops", "-5"),
        ({"budget": {"flops": "0%"}}, "budget.flops", "0%"),
        ({"budget": {"flops": "101%"}}, "budget.flops", "100%"),
        ({"budget": {"flops": "half"}}, "budget.flops", "50%"),
        ({"budget": {"params": "200 %%"}}, "budget.params", "200 %%"),
        ({"budget": {"flops": [1]}}, "budget.flops", "integer or a valid string, got [1]"),
        ({"budget": {}}, "budget", "at least one"),
        ({"budget": None}, "budget", "or a plan"),
        ({"budget": None, "plan": {"Mixed_5b": 3}}, "plan.Mixed_5b", "valid string, got 3"),
        ({"finish": {"parameters": {"Beta": [1]}}}, "finish.parameters.Beta", "got [1]"),
        ({"search": {"trials": 0}}, "search.trials", "greater than or equal to 1, got 0"),
        ({"search": {"operators": []}}, "search.operators", "empty"),
        ({"search": {"operators": 3}}, "search.operators", "list or 'auto', got 3"),
        ({"search": {"trails": 5}}, "search.trails", "not a known field"),
        ({"teacher": {}}, "teacher.architecture", "is required"),
        ({"teacher": {"architecture": "a", "weights": "/etc/passwd"}}, "teacher.weights", "upload"),
        ({"teacher": {"architecture": "a", "num_classes": 1}}, "teacher.num_classes", "got 1"),
        (
            {"teacher": {"architecture": "a", "normalize": {"mean": [0, 0, 0], "std": [0, 1, 1]}}},
            "teacher.normalize.std",
            "above 0",
        ),
        ({"teacher": {"architecture": "a", "normalize": "z"}}, "teacher.normalize", "'imagenet'"),
        ({"dataset": {"source": "mnist"}}, "dataset.source", "'mnist'"),
        ({"dataset": {"source": "digits", "image_size": 4}}, "dataset.image_size", "8 to 1024"),
        ({"dataset": {"source": "digits", "image_size": "x"}}, "dataset.image_size", "or 'auto'"),
        ({"distill": {"lr": "fast"}}, "distill.lr", "valid number or 'auto', got \"fast\""),
        ({"finish": {"formats": ["exe"]}}, "finish.formats.0", "'onnx'"),
        ({"device": "gpu"}, "device", "cuda"),
        ({"colour": "red"}, "colour", "not a known field"),
    ],
)
def test_a_wrong_field_is_named_with_its_value_and_limit(
    client, spec, assert_problem, changes, field, words
):
    problem = assert_problem(client.post("/jobs", json=spec | changes), 422, field=field)

    assert words in problem["errors"][0]["message"]
    assert field in problem["detail"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budgets": {}}, "did you mean 'budget'?"),
        ({"search": {"trails": 3}}, "did you mean 'trials'?"),
        ({"zzz": 1}, "/docs lists the known ones"),
    ],
)
def test_a_misspelt_field_is_told_the_nearest(client, spec, assert_problem, changes, words):
    problem = assert_problem(client.post("/jobs", json=spec | changes), 422)
    assert words in problem["errors"][0]["message"]


UNREADABLE = [b"", b"{", b"teacher: resnet", b"\xff\xfe", b"[" * 200_000, b'{"name": "\\ud800"}']


@pytest.mark.parametrize("path", ["/jobs", "/inspect"])
@pytest.mark.parametrize("body", UNREADABLE)
def test_a_body_that_cannot_be_read_is_400(client, assert_problem, path, body):
    assert_problem(client.post(path, content=body, headers=JSON), 400)


@pytest.mark.parametrize("path", ["/jobs", "/inspect"])
def test_a_body_that_is_not_json_is_400(client, assert_problem, path):
    problem = assert_problem(client.post(path, content=b'{"teacher": ', headers=JSON), 400)

    assert "not JSON" in problem["detail"]


@pytest.mark.parametrize("path", ["/jobs", "/inspect"])
@pytest.mark.parametrize("body", [b"[]", b"3", b"null", b'"spec"'])
def test_json_that_is_no_object_is_422(client, assert_problem, path, body):
    assert_problem(client.post(path, content=body, headers=JSON), 422, field="body")


def test_a_nul_character_is_refused(client, spec, assert_problem):
    problem = assert_problem(client.post("/jobs", json=spec | {"name": "a\0b"}), 400)

    assert "NUL" in problem["detail"]


def test_an_escaped_backslash_is_not_taken_for_a_nul(client, spec):
    response = client.post("/jobs", json=spec | {"name": "a\\u0000b"})

    assert response.json()["name"] == "a\\u0000b"


@pytest.mark.parametrize("path", ["/jobs", "/inspect", "/teachers", "/datasets"])
@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "nonsense", None])
def test_a_wrong_content_type_is_415(client, spec, assert_problem, path, content_type):
    headers = {} if content_type is None else {"content-type": content_type}

    problem = assert_problem(client.post(path, content=json.dumps(spec), headers=headers), 415)

    assert "send " in problem["detail"]


@pytest.mark.parametrize("path", ["/jobs", "/teachers"])
def test_multipart_that_is_not_whole_is_400(client, assert_problem, path):
    headers = {"content-type": "multipart/form-data; boundary=x"}

    assert_problem(client.post(path, content=b"--y\r\nnothing", headers=headers), 400)


@pytest.mark.parametrize("path", ["/nothing", "/jobs/x/y", "/jobs/../etc/passwd"])
def test_an_unknown_path_is_404(client, assert_problem, path):
    assert_problem(client.get(path), 404)


def test_a_wrong_method_is_405_and_says_which_would_do(client, assert_problem):
    response = client.put("/jobs/x")

    assert_problem(response, 405)
    assert "GET" in response.headers["allow"]


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/x",
        "/jobs/x/pareto",
        "/jobs/x/trials",
        "/jobs/x/events",
        "/jobs/x/students/0/onnx",
        "/teachers/x",
        "/datasets/..%2f..%2fetc",
        "/libraries/x",
        "/libraries/x/front",
    ],
)
def test_an_unknown_id_is_404(client, assert_problem, path):
    assert_problem(client.get(path), 404)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/jobs?limit=0", "limit"),
        ("/jobs?limit=many", "limit"),
        ("/jobs?limit=100000", "limit"),
        ("/jobs?cursor=../..", "cursor"),
        ("/jobs?status=sleeping", "status"),
        ("/teachers?cursor=x", "cursor"),
        ("/libraries?cursor=x", "cursor"),
        (f"/libraries/x/front?flops={'9' * 5000}", "flops"),
        ("/jobs/x/pareto?objectives=speed", "objectives"),
        ("/jobs/x/events?after=-1", "after"),
        ("/jobs/x/events?after=99999999999999999999", "after"),
        ("/jobs/x/students/one/onnx", "trial"),
    ],
)
def test_a_wrong_parameter_is_named(client, assert_problem, path, field):
    assert_problem(client.get(path), 422, field=field)


def test_every_wrong_field_is_listed(client, assert_problem):
    body = {"teacher": {}, "dataset": {"source": "x"}, "budget": {"flops": "0%"}}

    problem = assert_problem(client.post("/jobs", json=body), 422)

    fields = [each["field"] for each in problem["errors"]]
    assert fields == ["teacher.architecture", "dataset.source", "budget.flops"]
