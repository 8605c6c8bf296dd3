"""The OpenAPI document: nothing undocumented."""

import pytest

from pareconv.service.app import create_app


@pytest.fixture
def document(settings, runner):
    return create_app(settings, runner=runner).openapi()


def operations(document):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def resolved(document, schema):
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    return schema


def has_example(document, content):
    schema = resolved(document, content.get("schema", {}))
    if "example" in content or "example" in schema:
        return True
    items = schema.get("properties", {}).get("items", {}).get("items", {})
    return "example" in resolved(document, items)


def test_all_calls_are_there(document):
    assert {name for name, _ in operations(document)} == {
        "POST /jobs",
        "GET /jobs",
        "GET /jobs/{job_id}",
        "PATCH /jobs/{job_id}",
        "DELETE /jobs/{job_id}",
        "POST /jobs/{job_id}/pause",
        "POST /jobs/{job_id}/cancel",
        "POST /jobs/{job_id}/resume",
        "POST /jobs/{job_id}/extend",
        "GET /jobs/{job_id}/pareto",
        "GET /jobs/{job_id}/trials",
        "GET /jobs/{job_id}/events",
        "GET /jobs/{job_id}/log",
        "GET /jobs/{job_id}/students",
        "POST /jobs/{job_id}/students",
        "GET /jobs/{job_id}/students/{trial}/{format}",
        "GET /libraries",
        "GET /libraries/{id}",
        "DELETE /libraries/{id}",
        "GET /libraries/{id}/front",
        "POST /latencies",
        "POST /latencies/bundles",
        "GET /latencies",
        "GET /latencies/{id}",
        "DELETE /latencies/{id}",
        "POST /teachers",
        "GET /teachers",
        "GET /teachers/{id}",
        "DELETE /teachers/{id}",
        "POST /datasets",
        "GET /datasets",
        "GET /datasets/{id}",
        "DELETE /datasets/{id}",
        "GET /architectures",
        "GET /operators",
        "GET /methods",
        "POST /inspect",
        "POST /session",
        "DELETE /session",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
        "GET /version",
    }


def test_every_call_has_a_summary_a_tag_and_an_example(document):
    known = {tag["name"] for tag in document["tags"]}
    for name, operation in operations(document):
        assert operation["summary"], name
        assert set(operation["tags"]) <= known, name
        for status, response in operation["responses"].items():
            content = response.get("content", {}).get("application/json")
            if status.startswith("2") and content and "schema" in content:
                assert has_example(document, content), f"{name} {status}"


def test_every_error_is_documented_as_a_problem(document):
    for name, operation in operations(document):
        refused = {k: v for k, v in operation["responses"].items() if k[0] in "45"}
        assert {"422", "500"} <= set(refused), name
        assert ("404" in refused) == ("{" in name), name
        for response in refused.values():
            [(media_type, content)] = response["content"].items()
            assert media_type == "application/problem+json"
            assert "example" in resolved(document, content["schema"])


def test_bodies_have_an_example(document):
    for name, operation in operations(document):
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            if media_type == "application/json":
                assert {"example", "examples"} & {*content, *content["schema"]}, name


def test_every_reference_leads_somewhere(document):
    def references(node):
        if isinstance(node, dict):
            yield from [node["$ref"]] if "$ref" in node else []
            node = list(node.values())
        if isinstance(node, list):
            for each in node:
                yield from references(each)

    found = set(references(document))
    assert "#/components/schemas/JobSpec" in found
    for reference in found:
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


def test_it_is_served(client, document):
    assert client.get("/openapi.json").json()["paths"].keys() == document["paths"].keys()
    assert client.get("/docs").status_code == 200
