"""Libraries over HTTP: listed, shown, asked for a prediction, deleted."""

import io

import pytest


@pytest.fixture
def empty(stores):
    """A library in which nothing is yet."""
    return stores.libraries.open(
        key="5" * 64,
        architecture="cifar_resnet8",
        teacher="2" * 64,
        data="3" * 64,
        recipe={},
        teacher_cost={"flops": 1000, "params": 100, "adds": 0},
    )


def test_libraries_are_listed_newest_first_in_pages(client, library, empty):
    first = client.get("/libraries", params={"limit": 1}).json()
    rest = client.get("/libraries", params={"limit": 1, "cursor": first["next"]}).json()

    assert [each["id"] for each in first["items"] + rest["items"]] == [empty.id, library.id]
    assert rest["next"] is None
    [found] = rest["items"]
    shown = {
        "key": "1" * 64,
        "architecture": "cifar_resnet8",
        "teacher": "2" * 64,
        "data": "3" * 64,
        "recipe": {"images": 5000},
        "teacher_cost": {"flops": 1000, "params": 100, "adds": 0},
        "compute": 2.5e4,
        "building": False,
    }
    assert found.items() >= shown.items()


def test_a_library_of_a_network_in_a_file_is_called_like_the_file(client, stores):
    sent = {"file": ("network.onnx", b"whatever the runner takes for a network")}
    upload = client.post("/teachers", files=sent).json()
    library = stores.libraries.open(
        key="6" * 64,
        architecture=f"teacher:{upload['id']}",
        teacher="2" * 64,
        data="3" * 64,
        recipe={},
        teacher_cost={"flops": 1000, "params": 100, "adds": 0},
    )

    assert client.get(f"/libraries/{library.id}").json()["name"] == "network.onnx"
    [listed] = client.get("/libraries").json()["items"]
    assert (listed["name"], listed["architecture"]) == ("network.onnx", library.architecture)

    client.delete(f"/teachers/{upload['id']}")
    assert client.get(f"/libraries/{library.id}").json()["name"] == library.architecture


def test_a_library_is_shown_with_its_entries(client, library):
    found = client.get(f"/libraries/{library.id}").json()

    assert found["front"] == [{"plan": {"a": "shift"}, "score": 0.1}]
    assert [(each["block"], each["option"]) for each in found["entries"]] == [
        ("a", "shift"),
        ("a", "svd(ratio=0.5)"),
        ("b", "shift"),
    ]
    assert found["entries"][1] == {
        "block": "a",
        "option": "svd(ratio=0.5)",
        "loss": 0.25,
        "score": 0.1,
        "score_stderr": 0.01,
        "flops": -400,
        "adds": 0,
        "params": -40,
        "images": 5000,
        "settled": True,
    }
    assert (found["entries"][2]["score"], found["entries"][2]["settled"]) == (None, False)


def test_a_library_in_the_hands_of_a_worker_is_being_built(client, library, stores):
    stores.libraries.claim(library.id, "w", 60)

    assert client.get(f"/libraries/{library.id}").json()["building"]
    assert client.get("/libraries").json()["items"][0]["building"]


def test_the_front_is_predicted_within_the_budget(client, library, runner):
    answer = client.get(f"/libraries/{library.id}/front?flops=0.7&params=60").json()

    assert runner.calls == []  # it waits for nobody's upload to be checked
    assert answer.pop("seconds") >= 0
    assert answer == {
        "library": library.id,
        "teacher": {"flops": 1000, "params": 100, "adds": 0},
        "budget": {"flops": 700, "params": 60},
        "points": [
            {
                "flops": 600,
                "flops_ratio": 0.6,
                "adds": 0,
                "params": 60,
                "params_ratio": 0.6,
                "score": 0.1,
                "plan": {"a": "svd(ratio=0.5)"},
            },
            {
                "flops": 300,
                "flops_ratio": 0.35,
                "adds": 50,
                "params": 20,
                "params_ratio": 0.2,
                "score": 0.5,
                "plan": {"a": "shift"},
            },
        ],
    }


def test_without_a_budget_the_whole_front_is_predicted(client, library):
    answer = client.get(f"/libraries/{library.id}/front").json()

    assert answer["budget"] == {"flops": None, "params": None}
    assert [point["flops"] for point in answer["points"]] == [600, 300]


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("0.4", 400),
        (".5", 500),
        ("40%", 400),
        ("37.5 %", 375),
        ("100%", 1000),
        ("350", 350),
        ("999", 999),
    ],
)
def test_a_budget_is_a_share_or_a_whole_number(client, library, text, limit):
    answer = client.get(f"/libraries/{library.id}/front", params={"flops": text}).json()

    assert answer["budget"]["flops"] == limit


@pytest.mark.parametrize("name", ["flops", "params"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "half",
        "0",
        "1",
        "1.0",
        "-5",
        "0.0",
        "2.5",
        "0%",
        "101%",
        "%",
        "1e6",
        "nan",
        "inf",
        "٤٠%",
    ],
)
def test_a_budget_that_is_no_number_is_refused(client, library, assert_problem, name, text):
    response = client.get(f"/libraries/{library.id}/front", params={name: text})

    problem = assert_problem(response, 422, field=name)
    assert repr(text) in problem["detail"]
    assert "40%" in problem["detail"]


def test_a_budget_that_cannot_be_reached_is_refused(client, library, assert_problem):
    response = client.get(f"/libraries/{library.id}/front?flops=2")

    problem = assert_problem(response, 422, field="flops")
    assert "2 is below 350" in problem["detail"]


def test_a_library_without_scores_predicts_nothing_yet(client, empty, stores, assert_problem):
    idle = assert_problem(client.get(f"/libraries/{empty.id}/front"), 409)
    stores.libraries.claim(empty.id, "w", 60)
    building = assert_problem(client.get(f"/libraries/{empty.id}/front"), 409)

    assert "no scored entry yet" in idle["detail"]
    assert "ask again later" in building["detail"]


def test_a_deleted_library_is_gone(client, library, assert_problem):
    assert client.delete(f"/libraries/{library.id}").status_code == 204
    assert_problem(client.get(f"/libraries/{library.id}"), 404)
    assert_problem(client.delete(f"/libraries/{library.id}"), 404)


def test_a_library_that_is_being_built_stays(client, library, stores, assert_problem):
    stores.libraries.claim(library.id, "w", 60)

    assert "being built" in assert_problem(client.delete(f"/libraries/{library.id}"), 409)["detail"]


def test_a_library_that_a_running_job_needs_stays(client, spec, library, stores, assert_problem):
    job = client.post("/jobs", json=spec).json()["id"]
    stores.jobs.claim("w", 60)
    stores.jobs.update(job, owner="w", library_id=library.id)

    assert job in assert_problem(client.delete(f"/libraries/{library.id}"), 409)["detail"]


def test_a_deleted_library_goes_with_its_weights(client, library, stores):
    sha256, _ = stores.files.put_stream(io.BytesIO(b"weights"))
    entry = {"block": "c", "option": "shift", "version": 1, "rungs": 1, "settled": True}
    entry |= {"images": 1, "loss": 0.1, "flops": -1, "params": -1, "adds": 0, "weights": sha256}
    stores.libraries.claim(library.id, "w", 60)
    stores.libraries.put(library.id, "w", [entry], 1.0)
    stores.libraries.release(library.id, "w")

    assert client.delete(f"/libraries/{library.id}").status_code == 204

    assert not stores.files.exists(sha256)
