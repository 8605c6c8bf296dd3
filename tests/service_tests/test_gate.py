"""The gate: tokens as Bearer and as a cookie, other sites' pages, this machine alone, limits."""

import http.client
import json
from urllib.parse import urlsplit

import pytest
from starlette.requests import HTTPConnection

from pareconv.service.errors import Foreign, TooManyRequests
from pareconv.service.origins import require_this_machine
from pareconv.service.request_limit import RequestLimit
from pareconv.storage.tokens import Scope

# What browsers say of a request that a page of ours, or of another site, sends.
OWN = {"sec-fetch-site": "same-origin"}
FOREIGN = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "none"},
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:1"},
    {"origin": "http://127.0.0.1:x"},
    {"origin": "http://evil.example", "sec-fetch-site": "cross-site"},
]


@pytest.fixture
def token_of(stores):
    return lambda scope, **given: stores.tokens.create(Scope(scope), **given)


@pytest.fixture
def bearer(token_of):
    return {"authorization": f"Bearer {token_of('submit')[1]}"}


@pytest.fixture
def session(client, token_of):
    """The cookie of a session, as a header."""
    response = client.post("/session", json={"token": token_of("submit", name="me")[1]})
    assert response.json() == {"name": "me", "scope": "submit"}
    name, _, rest = response.headers["set-cookie"].partition("=")
    client.cookies.clear()
    return {"cookie": f"{name}={rest.split(';')[0]}"}


def origin_of(client):
    return {"origin": str(client.base_url).rstrip("/")}


# Tokens


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_token_is_sent_as_bearer(client, token_of, scheme):
    _, secret = token_of("read")
    assert client.get("/jobs", headers={"authorization": f"{scheme} {secret}"}).status_code == 200


@pytest.mark.parametrize(
    "sent", ["", "Bearer", "Basic eDp5", "Token x", "Bearer pareconv_x", "pareconv_x"]
)
def test_anything_else_is_no_token(client, token_of, assert_problem, sent):
    token_of("read")
    problem = assert_problem(client.get("/jobs", headers={"authorization": sent}), 401)
    assert "pareconv token create" in problem["detail"]


def test_a_wrong_token_is_told_apart_from_none(client, token_of):
    token_of("read")
    none = client.get("/jobs").headers["www-authenticate"]
    wrong = client.get("/jobs", headers={"authorization": "Bearer x"}).headers["www-authenticate"]
    assert none == 'Bearer realm="pareconv"'
    assert wrong == 'Bearer realm="pareconv", error="invalid_token"'


def test_it_asks_from_the_first_token_on_and_after_the_last(client, token_of, stores):
    assert client.get("/jobs").status_code == 200
    token, secret = token_of("admin")
    headers = {"authorization": f"Bearer {secret}"}
    assert (client.get("/jobs").status_code, client.get("/jobs", headers=headers).status_code) == (
        401, 200
    )  # fmt: skip
    stores.tokens.revoke(token.id)
    assert client.get("/jobs", headers=headers).status_code == 401
    assert client.get("/jobs").status_code == 401


def test_the_last_use_is_noted(client, bearer, stores):
    client.get("/jobs", headers=bearer)
    assert stores.tokens.all()[0].last_used_at is not None


def test_a_token_is_in_no_answer(client, token_of):
    _, secret = token_of("admin")
    for body in ({"token": secret, "more": 1}, {"token": secret + "x" * 300}):
        response = client.post("/session", json=body)
        assert response.status_code in {401, 422}
        assert secret not in response.text


def test_a_program_s_token_needs_no_page(client, bearer, spec):
    foreign = bearer | {"origin": "http://evil.example", "sec-fetch-site": "cross-site"}
    assert client.post("/jobs", json=spec, headers=foreign).status_code == 201


# Sessions


def test_a_session_is_a_cookie_that_no_script_and_no_other_site_has(client, token_of):
    _, secret = token_of("read")
    cookie = client.post("/session", json={"token": secret}).headers["set-cookie"]
    parts = {each.strip().lower() for each in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= parts
    assert not any(each.startswith("domain") for each in parts)


def test_over_tls_the_cookie_is_for_tls_and_this_host_alone(client, token_of):
    # uvicorn believes a proxy on this machine.
    tls = {"x-forwarded-proto": "https"}
    _, secret = token_of("read")
    response = client.post("/session", json={"token": secret}, headers=tls)
    cookie = response.headers["set-cookie"]
    assert cookie.startswith("__Host-pareconv_session=")
    assert "secure" in cookie.lower()
    client.cookies.clear()
    headers = {"cookie": cookie.split(";")[0]}
    assert client.get("/jobs", headers=headers | tls).status_code == 200
    assert client.get("/jobs", headers=headers).status_code == 401


@pytest.mark.parametrize("secret", ["pareconv_x", "x"])
def test_no_session_without_a_token_that_holds(client, token_of, assert_problem, secret):
    token_of("read")
    response = client.post("/session", json={"token": secret})
    assert_problem(response, 401)
    assert "set-cookie" not in response.headers


def test_a_session_looks(client, session):
    assert client.get("/jobs").status_code == 401
    assert client.get("/jobs", headers=session).status_code == 200


@pytest.mark.parametrize("own", [OWN, "origin", OWN | {"origin": "https://name.of.the.proxy"}])
def test_a_page_of_ours_changes_things_with_it(client, session, spec, own):
    said = origin_of(client) if own == "origin" else own
    assert client.post("/jobs", json=spec, headers=session | said).status_code == 201


def test_no_other_page_changes_things_with_it(client, session, spec, stores, assert_problem):
    for said in [{}, *FOREIGN]:
        problem = assert_problem(client.post("/jobs", json=spec, headers=session | said), 403)
        assert problem["type"] == "/problems/foreign"
        assert stores.jobs.page(10) == ([], None)


def test_a_session_has_the_scope_of_its_token(client, token_of, spec, assert_problem):
    client.post("/session", json={"token": token_of("read")[1]})
    problem = assert_problem(client.post("/jobs", json=spec, headers=OWN), 403)
    assert problem["type"] == "/problems/scope-missing"


def test_a_session_ends_with_its_token(client, session, stores):
    stores.tokens.revoke(stores.tokens.all()[0].id)
    assert client.get("/jobs", headers=session).status_code == 401


def test_a_session_that_is_ended_is_forgotten_by_the_browser(client, token_of):
    client.post("/session", json={"token": token_of("read")[1]})
    assert client.get("/jobs").status_code == 200
    assert client.delete("/session").status_code == 204
    assert client.get("/jobs").status_code == 401


def test_no_other_page_begins_or_ends_a_session(client, token_of, assert_problem):
    for said in FOREIGN:
        _, secret = token_of("read")
        for method, body in (("POST", {"token": secret}), ("DELETE", None)):
            response = client.request(method, "/session", json=body, headers=said)
            assert_problem(response, 403)
            assert "set-cookie" not in response.headers


def test_a_form_cannot_begin_a_session(client, token_of, assert_problem):
    form = {"content-type": "text/plain"}
    body = json.dumps({"token": token_of("read")[1]})
    assert_problem(client.post("/session", content=body, headers=form), 415)


def test_a_token_that_is_sent_is_stronger_than_the_cookie(client, session):
    assert client.get("/jobs", headers=session | {"authorization": "Bearer x"}).status_code == 401


# This machine alone, while there is no token


def ask(client, path="/jobs", method="GET", **headers):
    """The status; with a Host of the test's own, which the client would not send."""
    server = urlsplit(str(client.base_url))
    connection = http.client.HTTPConnection(server.hostname, server.port, timeout=30)
    connection.putrequest(method, path, skip_host="host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


def test_without_tokens_it_answers_this_machine(client):
    for host in ("localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.2:1", "[::1]"):
        assert ask(client, host=host) == 200, host


BENT = (
    "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.5:8000", "0.0.0.0",
    "", "[fe80::1]", "localhost:x@evil.example",
)  # fmt: skip


def test_a_name_that_was_bent_to_this_machine_is_refused(client):
    for host in BENT:
        for path in ("/jobs", "/dashboard", "/api/studies"):
            assert ask(client, path, host=host) == 403, (host, path)


def test_what_is_open_answers_to_any_name(client):
    for path in ("/healthz", "/readyz", "/version", "/docs"):
        assert ask(client, path, host="pareconv.example") == 200, path


def test_with_tokens_it_answers_to_any_name(client, bearer):
    assert ask(client, host="pareconv.example", **bearer) == 200


def test_without_tokens_no_other_page_changes_things(client, spec, stores, assert_problem):
    for said in FOREIGN:
        assert_problem(client.post("/jobs", json=spec, headers=said), 403)
        assert stores.jobs.page(10) == ([], None)


def test_without_tokens_programs_and_pages_of_ours_change_things(client, spec):
    for said in ({}, OWN, origin_of(client), OWN | origin_of(client)):
        assert client.post("/jobs", json=spec, headers=said).status_code == 201


def test_a_page_of_another_site_reads_nothing(client, assert_problem):
    assert_problem(client.get("/jobs", headers={"origin": "http://evil.example"}), 403)


def test_what_came_by_another_address_is_refused_while_there_is_no_token():
    request = {"type": "http", "method": "GET", "headers": [(b"host", b"localhost")]}
    require_this_machine(HTTPConnection(request | {"server": ("127.0.0.1", 8000)}))
    require_this_machine(HTTPConnection(request | {"server": ("/run/pareconv.sock", None)}))
    for address in ("10.0.0.5", "0.0.0.0", "fe80::1"):
        with pytest.raises(Foreign, match="without tokens"):
            require_this_machine(HTTPConnection(request | {"server": (address, 8000)}))


# Limits


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def test_a_bucket_holds_a_minute_s_worth_and_fills_evenly():
    clock = Clock()
    limit = RequestLimit(4, clock)
    for _ in range(4):
        limit.take("ann")
    with pytest.raises(TooManyRequests, match="4 requests a minute") as refused:
        limit.take("ann")
    assert refused.value.headers == {"retry-after": "15"}
    limit.take("bob")
    clock.now += 15
    limit.take("ann")
    with pytest.raises(TooManyRequests):
        limit.take("ann")
    clock.now += 3600
    for _ in range(4):
        limit.take("ann")
    with pytest.raises(TooManyRequests):
        limit.take("ann")


def test_those_who_ask_no_more_are_forgotten():
    clock = Clock()
    limit = RequestLimit(1, clock)
    for number in range(10_001):
        limit.take(str(number))
    clock.now += 61
    limit.take("one more")
    assert len(limit._full_at) == 1


def test_each_token_has_its_own_limit(client_of, assert_problem):
    client = client_of(max_requests_per_minute=3)
    tokens = client.app.state.stores.tokens
    first, second = ({"authorization": f"Bearer {tokens.create(Scope.READ)[1]}"} for _ in "ab")
    for _ in range(3):
        assert client.get("/jobs", headers=first).status_code == 200
    refused = client.get("/jobs", headers=first)
    assert_problem(refused, 429)
    assert 0 < int(refused.headers["retry-after"]) <= 20
    assert client.get("/jobs", headers=second).status_code == 200


@pytest.mark.parametrize("has_tokens", [False, True])
def test_who_has_no_token_is_limited_by_address(client_of, has_tokens):
    client = client_of(max_requests_per_minute=3)
    if has_tokens:
        client.app.state.stores.tokens.create(Scope.READ)
    statuses = [
        client.get("/jobs", headers={"authorization": f"Bearer guess{number}"}).status_code
        for number in range(4)
    ]
    assert statuses == [*[401 if has_tokens else 200] * 3, 429]
    assert client.get("/healthz").status_code == 200


def test_who_guesses_at_sessions_is_limited(client_of):
    client = client_of(max_requests_per_minute=3)
    client.app.state.stores.tokens.create(Scope.READ)
    found = [client.post("/session", json={"token": f"{n}"}).status_code for n in range(4)]
    assert found == [401, 401, 401, 429]
