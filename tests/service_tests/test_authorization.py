"""Every route x {no token, read, submit, admin, revoked, another owner's}, from the OpenAPI
document: a new route is in the matrix as soon as it is there, and fails without a scope.
"""

import http.client
import io
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi.routing import APIRoute

from pareconv.search.spec import JobSpec
from pareconv.service.app import _ROUTERS, create_app
from pareconv.service.scoped_route import ScopedRoute
from pareconv.service.settings import ServiceSettings
from pareconv.storage.jobs import JobStatus
from pareconv.storage.tokens import Scope

SPEC = JobSpec.model_validate(
    {
        "teacher": {"architecture": "cifar_resnet8"},
        "dataset": {"source": "digits"},
        "budget": {"flops": "50%"},
    }
).to_json()
LISTS = ("/jobs", "/jobs?status=succeeded", "/libraries", "/latencies", "/teachers", "/datasets")
OPEN = {"GET /healthz", "GET /readyz", "GET /version", "POST /session", "DELETE /session"}
UNLISTED = {"GET /", "GET /docs", "GET /openapi.json"}
DASHBOARD = ("/dashboard", "/dashboard/studies/1", "/api/studies", "/static/bundle.js",
             "/artifacts/1/1")  # fmt: skip


@dataclass
class Callers:
    """A running server, and the headers of each who asks it."""

    client: object
    stores: object
    headers: dict
    owner: object


@pytest.fixture(scope="module")
def callers(tmp_path_factory, settings_in, run_server, module_runner):
    settings = settings_in(tmp_path_factory.mktemp("home"))
    module_runner.answers["bundle"] = lambda asked: Path(asked["path"]).write_bytes(b"zip")
    with run_server(create_app(settings, runner=module_runner)) as client:
        stores = client.app.state.stores
        create = stores.tokens.create
        owner, submit = create(Scope.SUBMIT)
        secrets = {
            "submit": submit,
            "read": create(Scope.READ, of=owner.id)[1],
            "admin": create(Scope.ADMIN)[1],
            "another": create(Scope.SUBMIT)[1],
        }
        revoked, secrets["revoked"] = create(Scope.ADMIN)
        stores.tokens.revoke(revoked.id)
        headers = {name: {"authorization": f"Bearer {each}"} for name, each in secrets.items()}
        yield Callers(client, stores, headers | {"nobody": {}}, owner.access)


DOCUMENT = create_app(ServiceSettings(home=Path("nowhere"))).openapi()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
}
GUARDED = sorted(set(OPERATIONS) - OPEN)


def needed(name):
    """The scope that the operation declares."""
    schemes = OPERATIONS[name]["security"]
    [scopes] = {tuple(scopes) for scheme in schemes for scopes in scheme.values()}
    [scope] = scopes
    return Scope(scope)


def made(callers, name):
    """What the path names, made by the owner for this one call; the path with its ids."""
    stores = callers.stores.seen_with(callers.owner)
    job, _ = stores.jobs.create(SPEC)
    library = stores.libraries.open(
        key=job.id.ljust(64, "0"), architecture="a", teacher="2" * 64, data="3" * 64,
        recipe={}, teacher_cost={"flops": 1000, "params": 100, "adds": 0},
    )  # fmt: skip
    if name.startswith("PATCH "):
        return f"/jobs/{job.id}"  # it must still be queued
    claimed = callers.stores.jobs.claim("w", 60)
    while claimed is not None and claimed.id != job.id:
        claimed = callers.stores.jobs.claim("w", 60)
    callers.stores.jobs.update(job.id, owner="w", library_id=library.id)
    sha256, size_bytes = stores.files.put_stream(io.BytesIO(job.id.encode()))
    for number in range(8):
        stores.candidates.create(job.id, {"a": "shift"}, flops=1, adds=0, params=number)
        known = {"loss": 0.3, "seconds": 1.5, "images": 80, "compute": 90.0, "rungs": []}
        known |= {"accuracy_stderr": 0.01, "checkpoint": "c" * 64, "accuracy": 0.5}
        stores.candidates.complete(job.id, number, **known)
    stores.candidates.finish(job.id, 0, finish_accuracy=0.5, test_accuracy=0.5, compute=9.0)
    stores.artifacts.put(
        job.id, 0, format="onnx", sha256=sha256, size_bytes=size_bytes, filename="s.onnx"
    )
    if not name.endswith(("/cancel", "/pause")):
        to = JobStatus.FAILED if "/resume" in name else JobStatus.SUCCEEDED
        callers.stores.jobs.transition(job.id, to, owner="w")
    table = stores.latencies.open(device=job.id, runtime="torch", batch=1, threads=1, versions={})
    upload = {kind: store.add("n", "f", sha256, 1, {}) for kind, store in stores.uploads.items()}
    ids = {"job_id": job.id, "trial": "0", "format": "onnx"}
    of = {"libraries": library, "latencies": table}
    of |= {"teachers": upload["teacher"], "datasets": upload["dataset"]}
    section = name.split("/")[1]
    if section in of:
        ids["id"] = of[section].id
    return re.sub(r"\{(\w+)\}", lambda match: ids[match[1]], name.split(" ")[1])


def body(name):
    """The body that the document gives as an example, or a file."""
    content = OPERATIONS[name].get("requestBody", {}).get("content", {})
    if "application/json" in content:
        shown = content["application/json"]
        examples = shown.get("examples") or shown["schema"].get("examples")
        if isinstance(examples, dict):
            examples = [each["value"] for each in examples.values()]
        return {"json": examples[0] if examples else shown["example"]}
    return {"files": {"file": ("f", name.encode())}} if content else {}


def ask(callers, name, caller, path=None):
    method = name.split(" ")[0]
    path = path or made(callers, name)
    headers = callers.headers[caller]
    return callers.client.request(method, path, headers=headers, **body(name))


def test_every_route_declares_its_scope():
    for router in _ROUTERS:
        for route in router.routes:
            assert isinstance(route, ScopedRoute), f"{route.path} has no scope"
    assert {name for name, each in OPERATIONS.items() if each["security"] == []} == OPEN


def test_a_route_without_a_scope_cannot_be_made():
    with pytest.raises(TypeError, match="/new declares no scope"):
        ScopedRoute("/new", lambda: None)


def test_who_may_only_read_changes_nothing():
    for name in GUARDED:
        if not name.startswith("GET "):
            assert needed(name).includes(Scope.SUBMIT), name


def test_the_app_has_no_other_routes(settings):
    own = create_app(settings).router.routes
    others = {route.path for route in own if hasattr(route, "path")}
    listed = {name.split(" ")[1] for name in UNLISTED} | {"/dashboard"}
    assert {f"/{path.split('/')[1]}" for path in others} <= listed | {"/api", "/static",
                                                                      "/artifacts"}  # fmt: skip
    assert [each.path for each in own if isinstance(each, APIRoute)] == ["/docs"]


@pytest.mark.parametrize("name", sorted(OPEN | UNLISTED - {"GET /"}))  # that shows the form
@pytest.mark.parametrize("caller", ["nobody", "revoked"])
def test_what_is_open_asks_for_no_token(callers, name, caller):
    if name == "POST /session":
        return  # has its token in the body: tests of the session
    response = ask(callers, name, caller, path=name.split(" ")[1]) if name in OPEN else (
        callers.client.get(name.split(" ")[1])
    )  # fmt: skip
    assert response.status_code in {200, 204, 307}


@pytest.mark.parametrize("name", GUARDED)
@pytest.mark.parametrize("caller", ["nobody", "revoked"])
def test_without_a_token_that_holds_nothing_is_answered(callers, assert_problem, name, caller):
    response = ask(callers, name, caller)
    assert_problem(response, 401)
    assert response.headers["www-authenticate"].startswith('Bearer realm="pareconv"')


@pytest.mark.parametrize("name", GUARDED)
@pytest.mark.parametrize("caller", ["read", "submit", "admin"])
def test_a_token_may_what_its_scope_includes(callers, assert_problem, name, caller):
    response = ask(callers, name, caller)
    if Scope(caller).includes(needed(name)):
        assert response.status_code in {200, 201, 202, 204, 409}, response.text
        # A library that is not scored yet has no front.
        assert response.status_code != 409 or name == "GET /libraries/{id}/front"
    else:
        problem = assert_problem(response, 403)
        assert problem["type"] == "/problems/scope-missing"
        assert f"of scope {needed(name)}," in problem["detail"]
        said = response.headers["www-authenticate"]
        assert f'error="insufficient_scope", scope="{needed(name)}"' in said


@pytest.mark.parametrize("name", [each for each in GUARDED if "{" in each])
def test_what_is_another_owner_s_is_not_there(callers, assert_problem, name):
    path = made(callers, name)
    detail = assert_problem(ask(callers, name, "another", path=path), 404)["detail"]
    id = path.split("/")[2]
    nowhere = path.replace(id, "nowhere")
    of_nothing = assert_problem(ask(callers, name, "another", path=nowhere), 404)["detail"]
    assert detail.replace(id, "nowhere") == of_nothing
    allowed = ask(callers, name, "submit", path=path)  # it is there all the same, as it was
    assert allowed.status_code != 404


@pytest.mark.parametrize("path", LISTS)
def test_lists_hold_one_s_own(callers, path):
    made(callers, "GET /jobs")
    stores = callers.stores
    stranger = {"authorization": f"Bearer {stores.tokens.create(Scope.SUBMIT)[1]}"}
    assert callers.client.get(path, headers=stranger).json() == {"items": [], "next": None}
    for caller in ("read", "submit", "admin"):
        found = callers.client.get(path, headers=callers.headers[caller])
        assert found.json()["items"], caller


@pytest.mark.parametrize("path", DASHBOARD)
def test_the_dashboard_is_for_admins(callers, assert_problem, path):
    for caller in ("nobody", "revoked"):
        assert_problem(callers.client.get(path, headers=callers.headers[caller]), 401)
    for caller in ("read", "submit", "another"):
        problem = assert_problem(callers.client.get(path, headers=callers.headers[caller]), 403)
        assert problem["type"] == "/problems/scope-missing"
    admitted = callers.client.get(path, headers=callers.headers["admin"])
    assert admitted.status_code in {200, 400}  # it keeps no artifacts
    assert_problem(callers.client.post(path, headers=callers.headers["submit"]), 403)
    refused = assert_problem(callers.client.post(path, headers=callers.headers["admin"]), 403)
    assert refused["type"] == "/problems/dashboard-read-only"


@pytest.mark.parametrize(("caller", "status"), [("nobody", 401), ("read", 403)])
def test_who_may_not_upload_is_told_so_before_the_body(callers, caller, status):
    server = urlsplit(str(callers.client.base_url))
    connection = http.client.HTTPConnection(server.hostname, server.port, timeout=30)
    connection.putrequest("POST", "/datasets")
    sent = callers.headers[caller] | {"content-type": "multipart/form-data; boundary=x"}
    for header, value in (sent | {"content-length": "1000000"}).items():
        connection.putheader(header, value)
    connection.endheaders(b"--x\r\n")  # and no more ever comes
    assert connection.getresponse().status == status
    connection.close()
