"""What real tasks bring out of a child process: answers, refusals, events, limits."""

import pytest

from pareconv.models.errors import WeightsError
from pareconv.search.errors import InvalidSpec, JobFailed, OutOfMemory
from pareconv.search.executors.child import Child
from pareconv.storage.errors import QuotaReached

DIGITS = {
    "teacher": {"architecture": "cifar_resnet8"},
    "dataset": {"source": "digits", "image_size": 16},
    "budget": {"flops": "60%"},
    "device": "cpu",
}
# Trains for hours, telling its progress several times a second.
ENDLESS = {
    "spec": DIGITS
    | {
        "teacher": DIGITS["teacher"] | {"training": {"epochs": 1000, "batch_size": 2}},
        "dataset": {"source": "digits", "image_size": 8},
    }
}
TRAINED = DIGITS | {
    "teacher": DIGITS["teacher"] | {"training": {"epochs": 5}},
    "dataset": {"source": "digits", "image_size": 8},
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    return {
        "PARECONV_HOME": str(home),
        "PARECONV_DATABASE_URL": "",
        "PARECONV_ARTIFACTS_URL": "",
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture(scope="module")
def child(environment):
    with Child(environment=environment) as child:
        yield child


def test_the_catalog_is_answered(child):
    catalog = child.call("catalog", {})
    assert "cifar_resnet8" in {each["name"] for each in catalog["architectures"]}
    assert {"features", "kd", "labels"} <= {each["name"] for each in catalog["methods"]}


def test_a_refused_spec_comes_back_with_its_field(child):
    spec = DIGITS | {"teacher": {"architecture": "cifar_resnet8", "num_classes": 7}}
    with pytest.raises(InvalidSpec, match="7 does not match") as caught:
        child.call("inspect", {"spec": spec})
    assert caught.value.field == "teacher.num_classes"
    assert str(caught.value) == f"teacher.num_classes: {caught.value.message}"


def test_an_error_of_the_networks_comes_back_as_what_it_was(child, tmp_path):
    (tmp_path / "cut.pt").write_bytes(b"no weights")
    with pytest.raises(WeightsError):
        child.call("check_teacher", {"path": str(tmp_path / "cut.pt")})


def test_a_failed_job_comes_back_as_that(child):
    """Two images seen are not enough to learn anything."""
    training = {"epochs": 0.001, "lr": 1e-6}
    teacher = {"architecture": "cifar_resnet8", "training": training}
    with pytest.raises(JobFailed, match="near chance"):
        child.call("profile", {"spec": DIGITS | {"teacher": teacher}})


def test_events_arrive_while_the_task_runs(child):
    events = []
    teacher = {"architecture": "cifar_resnet8", "training": {"epochs": 3}}
    result = child.call("profile", {"spec": DIGITS | {"teacher": teacher}}, on_event=events.append)
    assert [event["type"] for event in events[:2]] == ["inspected", "data"]
    done = [event["done"] for event in events if event["type"] == "progress"]
    assert done == sorted(done)
    assert done[-1] == 1
    assert result["resolved"]["teacher"]["num_classes"] == 10


def test_a_training_is_stopped(child):
    error, steps = JobFailed("stop"), []

    def poll():
        if steps:
            raise error

    with pytest.raises(JobFailed) as caught:
        child.call("profile", ENDLESS, on_event=steps.append, poll=poll)
    assert caught.value is error


def test_a_task_that_asks_for_too_much_memory_fails_alone(environment):
    """Digits of 1024 pixels a side are 5.6 GB."""
    large = DIGITS | {"dataset": {"source": "digits", "image_size": 1024}}
    with Child(memory_bytes=4 << 30, environment=environment) as child:
        with pytest.raises(OutOfMemory):
            child.call("inspect", {"spec": large})
        assert child.call("inspect", {"spec": DIGITS})["image_size"] == 16


def test_a_task_that_may_store_nothing_more_says_so_itself(environment):
    with (
        Child(environment=environment | {"PARECONV_QUOTA_BYTES": "10"}) as child,
        pytest.raises(QuotaReached, match=r"of 10 bytes.*pareconv gc"),
    ):
        child.call("profile", {"spec": TRAINED})
