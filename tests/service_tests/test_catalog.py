"""What can be asked for, and an inspection without a job."""

from pareconv.search.errors import InvalidSpec, TaskFailed


def test_the_catalog_is_asked_for_once(client, runner):
    for path in ("/architectures", "/operators", "/methods"):
        expected = runner.answers["catalog"][path.removeprefix("/")]
        for _ in range(2):
            assert client.get(path).json() == {"items": expected, "next": None}

    assert runner.tasks() == ["catalog"]


def test_architectures_are_searched_by_name_and_family(client):
    def names(search):
        items = client.get("/architectures", params={"search": search}).json()["items"]
        return [each["name"] for each in items]

    assert names("RESNET") == ["cifar_resnet8"]
    assert names("vgg") == ["vgg11"]
    assert names("nothing") == []


def test_a_catalog_that_failed_is_asked_for_again(client, runner, assert_problem):
    catalog = runner.answers["catalog"]
    runner.answers["catalog"] = TaskFailed("ImportError: no torch")
    assert_problem(client.get("/operators"), 500)

    runner.answers["catalog"] = catalog
    assert client.get("/operators").status_code == 200


def test_an_inspection_makes_no_job(client, spec, runner, stores):
    response = client.post("/inspect", json=spec)

    assert response.status_code == 200
    assert response.json() == runner.answers["inspect"]
    [(task, payload)] = runner.calls
    assert task == "inspect"
    assert payload["spec"]["search"]["trials"] == 60
    assert stores.jobs.page(10) == ([], None)


def test_what_an_inspection_refuses_is_named(client, spec, runner, assert_problem):
    runner.answers["inspect"] = InvalidSpec("teacher.architecture", "unknown 'x'; try resnet18")

    assert_problem(client.post("/inspect", json=spec), 422, field="teacher.architecture")


def test_an_invalid_spec_is_not_inspected(client, spec, runner, assert_problem):
    spec["search"] = {"trials": 0}

    assert_problem(client.post("/inspect", json=spec), 422, field="search.trials")
    assert runner.calls == []
