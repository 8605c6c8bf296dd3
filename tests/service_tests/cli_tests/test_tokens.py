"""Tokens on the command line: made, listed, revoked, and sent."""

import json

import pytest

from pareconv.storage.tokens import PREFIX, Scope


@pytest.fixture
def here(run, settings, monkeypatch):
    """Commands on this machine work on the database of the server."""
    monkeypatch.setenv("PARECONV_HOME", str(settings.home))
    return run


def test_a_token_is_shown_once_alone_on_stdout(here, stores):
    made = here("token", "create", "--scope", "submit", "--name", "laptop")
    secret = made.stdout.strip()
    assert secret.startswith(PREFIX)
    assert "cannot be shown again" in made.stderr
    assert "From now on" in made.stderr
    token = stores.tokens.authenticate(secret)
    assert (token.name, token.scope) == ("laptop", Scope.SUBMIT)
    assert "From now on" not in here("token", "create", "--scope", "read").stderr


def test_a_token_as_json_holds_its_secret_this_once(here):
    made = json.loads(here("token", "create", "--scope", "read", "--json").stdout)
    assert here("jobs", "--token", made["secret"]).exit_code == 0
    assert made["token"]["scope"] == "read"


def test_tokens_are_listed_without_their_secrets(here, stores):
    assert "No tokens" in here("token", "list").stdout
    token, secret = stores.tokens.create(Scope.READ, name="laptop")
    shown = here("token", "list").stdout
    assert token.id in shown
    assert "laptop" in shown
    assert "never" in shown
    [listed] = json.loads(here("token", "list", "--json").stdout)
    assert (listed["id"], listed["scope"], listed["revoked_at"]) == (token.id, "read", None)
    assert secret not in shown + str(listed)


def test_a_revoked_token_opens_nothing(here, stores):
    token, secret = stores.tokens.create(Scope.ADMIN)
    assert here("jobs", "--token", secret).exit_code == 0
    assert here("token", "revoke", token.id).exit_code == 0
    assert here("jobs", "--token", secret).exit_code == 1
    assert "revoked" in here("token", "list").stdout
    unknown = here("token", "revoke", "nowhere")
    assert (unknown.exit_code, "nowhere" in unknown.stderr) == (1, True)


def test_a_token_may_be_made_for_what_is_another_s(here, stores, run, spec, client):
    owner, secret = stores.tokens.create(Scope.SUBMIT)
    job = client.post("/jobs", json=spec, headers={"authorization": f"Bearer {secret}"}).json()
    reader = here("token", "create", "--scope", "read", "--of", owner.id).stdout.strip()
    assert job["id"] in run("jobs", "--token", reader).stdout


@pytest.mark.parametrize("way", ["before", "after", "variable"])
def test_a_token_is_sent_by_every_command(run, stores, way, monkeypatch):
    _, secret = stores.tokens.create(Scope.SUBMIT)
    refused = run("jobs")
    assert (refused.exit_code, "PARECONV_TOKEN" in refused.stderr) == (1, True)
    before = ["--token", secret] if way == "before" else []
    after = ["--token", secret] if way == "after" else []
    if way == "variable":
        monkeypatch.setenv("PARECONV_TOKEN", secret)
    for command in (["jobs"], ["libraries"], ["inspect", "--teacher", "a", "--data", "digits",
                                               "--budget-flops", "50%"]):  # fmt: skip
        assert run(*before, *command, *after).exit_code == 0, command
    nowhere = run(*before, "libraries", *after, "front", "nowhere")
    assert "no library 'nowhere'" in nowhere.stderr


def test_one_command_s_token_is_not_the_next_one_s(run, stores):
    _, secret = stores.tokens.create(Scope.SUBMIT)
    assert run("jobs", "--token", secret).exit_code == 0
    assert run("jobs").exit_code == 1


def test_what_is_no_token_is_not_sent(run):
    refused = run("jobs", "--token", "pareconv_\nx")
    assert refused.exit_code == 2
    assert "pareconv_" not in refused.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "pareconv.example"])
@pytest.mark.parametrize("way", ["option", "variable"])
def test_nobody_else_is_served_before_there_is_a_token(here, host, way, monkeypatch):
    if way == "variable":
        monkeypatch.setenv("PARECONV_HOST", host)
    refused = here("serve", *(["--host", host] if way == "option" else []))
    assert refused.exit_code == 2
    assert "pareconv token create --scope admin" in refused.stderr
    assert "Pareconv at" not in refused.stdout
