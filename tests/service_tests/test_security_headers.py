"""Security headers: on every answer, whatever it is."""

import re

import pytest

from pareconv.service.security_headers import HEADERS, POLICY


@pytest.fixture(scope="module")
def client(shared_client):
    return shared_client


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/jobs"),
        ("GET", "/healthz"),
        ("GET", "/nowhere"),
        ("POST", "/healthz"),
        ("POST", "/jobs"),
        ("GET", "/openapi.json"),
    ],
)
def test_every_answer_has_them(client, method, path):
    response = client.request(method, path)
    for name, value in HEADERS.items():
        assert response.headers[name] == value
    assert "strict-transport-security" not in response.headers


def test_so_has_one_that_is_too_large_to_be_read(client):
    response = client.post("/jobs", content=b"x" * 2_000_000)
    assert response.status_code == 413
    assert response.headers["content-security-policy"] == POLICY


def test_so_has_one_that_nobody_expected(client, monkeypatch):
    def fails(*_):
        raise RuntimeError("unexpected")

    monkeypatch.setattr(type(client.app.state.stores.database), "check", fails)
    response = client.get("/readyz")
    assert response.status_code == 500
    assert response.headers["content-security-policy"] == POLICY


def test_over_tls_browsers_are_told_to_stay_there(client):
    response = client.get("/healthz", headers={"x-forwarded-proto": "https"})
    assert response.headers["strict-transport-security"] == "max-age=31536000"


def test_nothing_of_ours_runs_from_a_page():
    assert "unsafe" not in POLICY
    assert "frame-ancestors 'none'" in POLICY


def test_the_docs_run_the_script_that_is_in_them_and_no_other(client):
    import base64
    import hashlib

    page = client.get("/docs")
    policy = page.headers["content-security-policy"]
    [script] = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    [allowed] = re.findall(r"script-src ([^;]*)", policy)
    assert f"'sha256-{digest}'" in allowed
    assert "unsafe" not in allowed
    sources = re.findall(r'(?:src|stylesheet" href)="([^"]*)"', page.text)
    assert [client.get(each).status_code for each in sources] == [200, 200]
    assert all(each.startswith("/web/") for each in sources)
    assert "frame-ancestors 'none'" in policy
    assert client.get("/redoc").status_code == 404


def test_the_dashboard_may_do_what_it_must_and_be_in_no_frame(client):
    policy = client.get("/dashboard").headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    [script] = re.findall(r"script-src ([^;]*)", policy)
    assert script.split() == ["'self'", "'unsafe-eval'"]
    assert client.get("/static/bundle.js").headers["x-content-type-options"] == "nosniff"
