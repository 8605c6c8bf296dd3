"""The Optuna dashboard in the same server: the same study, read-only."""

import gzip
import http.client
from urllib.parse import urlsplit

import optuna
import pytest


@pytest.fixture(scope="module")
def bundle():
    from optuna_dashboard import _app

    with open(f"{_app.STATIC_DIR}/bundle.js", "rb") as file:  # noqa: PTH123
        return file.read()


def study_in(stores):
    storage = optuna.storages.RDBStorage(stores.database.url)
    study = optuna.create_study(
        storage=storage, study_name="a job", directions=["maximize", "minimize"]
    )
    study.add_trial(
        optuna.trial.create_trial(
            values=[0.9, 100.0],
            params={"layer1.0": "shift"},
            distributions={
                "layer1.0": optuna.distributions.CategoricalDistribution(["keep", "shift"])
            },
        )
    )
    storage.engine.dispose()
    return study


def test_it_works_before_there_is_any_study(client):
    assert client.get("/dashboard").status_code == 200
    assert client.get("/api/studies").json() == {"study_summaries": []}


def test_it_shows_a_study_of_the_same_database(client, stores):
    study_in(stores)

    [summary] = client.get("/api/studies").json()["study_summaries"]
    detail = client.get(f"/api/studies/{summary['study_id']}?after=0").json()

    assert summary["study_name"] == "a job"
    assert detail["trials"][0]["params"][0]["name"] == "layer1.0"
    assert client.get(f"/dashboard/studies/{summary['study_id']}").status_code == 200


@pytest.mark.parametrize("accepted", [None, "", "identity", "br", "gzip;q=0", "gzip", "br, gzip"])
def test_its_bundle_comes_in_an_encoding_that_the_client_takes(client, bundle, accepted):
    server = urlsplit(str(client.base_url))
    connection = http.client.HTTPConnection(server.hostname, server.port, timeout=30)
    connection.putrequest("GET", "/static/bundle.js", skip_accept_encoding=True)
    if accepted is not None:
        connection.putheader("Accept-Encoding", accepted)
    connection.endheaders()
    response = connection.getresponse()
    body = response.read()
    connection.close()

    assert response.status == 200
    is_packed = response.headers.get("content-encoding") == "gzip"
    assert is_packed == (accepted in {"gzip", "br, gzip"})
    assert (gzip.decompress(body) if is_packed else body) == bundle


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/api/studies/1"),
        ("POST", "/api/studies"),
        ("PUT", "/api/studies/1/note"),
        ("POST", "/api/studies/1/rename"),
        ("POST", "/dashboard"),
    ],
)
def test_it_changes_nothing(client, stores, assert_problem, method, path):
    study_in(stores)

    assert_problem(client.request(method, path, json={}), 403)

    assert len(client.get("/api/studies").json()["study_summaries"]) == 1


def test_it_may_be_allowed_to_change_things(client_of):
    client = client_of(dashboard_writable=True)
    study_in(client.app.state.stores)
    [summary] = client.get("/api/studies").json()["study_summaries"]

    assert client.delete(f"/api/studies/{summary['study_id']}").status_code == 204
    assert client.get("/api/studies").json()["study_summaries"] == []


def test_only_its_own_paths_go_to_it(client, assert_problem):
    for path in ("/csv/1", "/dashboards", "/incompatible-rdb-schema"):
        assert_problem(client.get(path), 404)
