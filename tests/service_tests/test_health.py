"""Whether the server lives, is ready, and which version it is."""

import platform
import shutil
from importlib.metadata import version

from pareconv.storage.errors import Unavailable
from pareconv.storage.workers import WorkerStore

WELL = {"status": "ok", "database": "ok", "files": "ok", "tasks": "ok"}


def test_it_lives_and_is_ready(client, stores):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == WELL
    assert [path for path in stores.files._folder.rglob("*") if path.is_file()] == []


def test_it_lives_without_its_database_but_is_not_ready(
    client, stores, monkeypatch, assert_problem
):
    def fail(_self):
        raise Unavailable("connection refused")

    monkeypatch.setattr(type(stores.database), "check", fail)

    assert client.get("/healthz").status_code == 200
    problem = assert_problem(client.get("/readyz"), 503, field="database")
    assert "database: connection refused" in problem["detail"]


def break_files(settings):
    folder = settings.home / "artifacts"
    shutil.rmtree(folder, ignore_errors=True)
    folder.write_text("a file in the place of the folder")


def test_artifacts_that_cannot_be_written_are_named(client, settings, assert_problem):
    break_files(settings)

    problem = assert_problem(client.get("/readyz"), 503, field="files")
    assert "PARECONV_ARTIFACTS_URL" in problem["detail"]


def test_each_that_fails_is_named_with_its_reason(client, settings, runner, assert_problem):
    break_files(settings)
    runner.failing = "its process ended with exit code 1"

    problem = assert_problem(client.get("/readyz"), 503)

    assert [each["field"] for each in problem["errors"]] == ["files", "tasks"]
    assert problem["errors"][1]["message"] == "its process ended with exit code 1"
    runner.failing = None
    (settings.home / "artifacts").unlink()
    assert client.get("/readyz").json() == WELL


def test_versions(client):
    found = client.get("/version").json()

    assert found["pareconv"] == version("pareconv")
    assert found["python"] == platform.python_version()
    assert found["api"] == "1"


def test_a_server_beside_workers_of_another_says_so(client_of, caplog):
    def told():
        return [each for each in caplog.messages if "already at work on this database" in each]

    first = client_of()
    assert told() == []
    WorkerStore(first.app.state.stores.database).saw("w", host="next-door")
    client_of()
    (message,) = told()
    assert "already at work on this database: 1, on next-door" in message
