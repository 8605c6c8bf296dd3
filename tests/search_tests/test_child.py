import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import psutil
import pytest

from pareconv.models.errors import WeightsError
from pareconv.search.errors import (
    InvalidSpec,
    JobFailed,
    OutOfMemory,
    TaskDied,
    TaskTimeout,
)
from pareconv.search.executors.child import Child
from pareconv.storage import logs
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


class Interruption(Exception):
    """What a caller raises to stop a task."""


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


def children():
    """The task servers that this process started and that still run."""
    with suppress(psutil.NoSuchProcess):
        return [
            each
            for each in psutil.Process().children()
            if "pareconv.search.executors.task_server" in each.cmdline()
        ]
    return []


def server_of(child):
    """The child's process, warm after a call."""
    before = {each.pid for each in children()}
    child.call("catalog", {})
    found = {each.pid for each in children()}
    (pid,) = found - before if found - before else found
    return psutil.Process(pid)


def wait_until_gone(process):
    assert not psutil.wait_procs([process], timeout=10)[1]


def test_a_task_answers_and_the_process_stays_warm(child):
    process = server_of(child)
    catalog = child.call("catalog", {})
    assert "cifar_resnet8" in {each["name"] for each in catalog["architectures"]}
    assert {"features", "kd", "labels"} <= {each["name"] for each in catalog["methods"]}
    assert process.is_running()
    assert server_of(child) == process


def test_a_started_process_is_the_one_that_serves(environment):
    before = set(children())
    with Child(environment=environment) as child:
        child.start()
        started = set(children()) - before
        child.start()
        child.call("catalog", {})
        assert set(children()) - before == started
    assert len(started) == 1


def test_memory_is_kept_between_steps_unless_the_user_says_otherwise(environment, monkeypatch):
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    with Child(environment=environment) as child:
        found = server_of(child).environ()
    assert int(found["MALLOC_TRIM_THRESHOLD_"]) == 2**30
    assert found["MALLOC_MMAP_THRESHOLD_"] == "65536"


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


def test_after_an_error_the_same_process_goes_on(child):
    process = server_of(child)
    with pytest.raises(InvalidSpec):
        child.call("inspect", {"spec": DIGITS | {"budget": {"flops": 1}}})
    assert server_of(child) == process


def test_events_arrive_while_the_task_runs(child):
    events = []
    teacher = {"architecture": "cifar_resnet8", "training": {"epochs": 3}}
    result = child.call("profile", {"spec": DIGITS | {"teacher": teacher}}, on_event=events.append)
    assert [event["type"] for event in events[:2]] == ["inspected", "data"]
    done = [event["done"] for event in events if event["type"] == "progress"]
    assert done == sorted(done)
    assert done[-1] == 1
    assert result["resolved"]["teacher"]["num_classes"] == 10


def test_a_task_whose_process_is_killed_dies_and_the_next_call_works(child):
    process = server_of(child)
    with pytest.raises(TaskDied, match=r"profile.*killed by SIGKILL"):
        child.call("profile", ENDLESS, on_event=lambda _: process.kill())
    assert child.call("catalog", {})["operators"]


def test_a_process_that_died_while_idle_is_replaced(child):
    process = server_of(child)
    process.kill()
    wait_until_gone(process)
    assert server_of(child) != process


def test_a_process_that_died_while_idle_is_told_once_and_replaced(child):
    process = server_of(child)
    assert child.failure() is None
    process.kill()
    wait_until_gone(process)
    assert "another is started" in child.failure()
    assert child.failure() is None
    assert child.call("catalog", {})["operators"]


def test_while_a_task_runs_its_process_is_well(child):
    found = []
    with pytest.raises(Interruption):
        child.call("profile", ENDLESS, poll=lambda: tell(child, found))
    assert found == [None]


def tell(child, found):
    found.append(child.failure())
    raise Interruption


def test_a_process_that_cannot_be_started_is_told(environment, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with Child(environment=environment) as child:
        assert "No such file" in child.failure()


def test_what_a_task_logs_says_what_it_is_about(environment, capfd):
    """Digits of 1024 pixels a side are 5.6 GB."""
    large = DIGITS | {"dataset": {"source": "digits", "image_size": 1024}}
    variables = environment | {"PARECONV_LOG_FORMAT": "json"}
    with (
        Child(memory_bytes=4 << 30, environment=variables) as child,
        logs.about(job="j1", request_id="r1"),
        pytest.raises(OutOfMemory),
    ):
        child.call("inspect", {"spec": large})
    (line,) = [json.loads(each) for each in capfd.readouterr().err.splitlines()]
    assert (line["message"], line["job"], line["request_id"]) == ("task failed", "j1", "r1")
    assert "Traceback" in line["exception"]


def test_a_task_past_its_time_limit_is_killed(child):
    process = server_of(child)
    started = time.monotonic()
    with pytest.raises(TaskTimeout, match="profile"):
        child.call("profile", ENDLESS, timeout_seconds=1)
    assert time.monotonic() - started < 10
    wait_until_gone(process)


def test_what_poll_raises_stops_the_task_within_seconds(child):
    """Also an error that a task might raise: its process must not go on with that task."""
    error, process = JobFailed("stop"), server_of(child)
    beginning = time.monotonic()

    def poll():
        if time.monotonic() - beginning > 1:
            raise error

    with pytest.raises(JobFailed) as caught:
        child.call("profile", ENDLESS, poll=poll)
    assert caught.value is error
    assert time.monotonic() - beginning < 10
    wait_until_gone(process)


def test_what_a_listener_raises_stops_the_task(child):
    process = server_of(child)

    def on_event(event):
        raise Interruption(event["type"])

    with pytest.raises(Interruption, match="inspected"):
        child.call("profile", ENDLESS, on_event=on_event)
    wait_until_gone(process)


def test_a_task_that_asks_for_too_much_memory_fails_alone(environment):
    """Digits of 1024 pixels a side are 5.6 GB."""
    large = DIGITS | {"dataset": {"source": "digits", "image_size": 1024}}
    with Child(memory_bytes=4 << 30, environment=environment) as child:
        with pytest.raises(OutOfMemory):
            child.call("inspect", {"spec": large})
        assert child.call("inspect", {"spec": DIGITS})["image_size"] == 16


def test_close_leaves_no_process_and_ends_a_call_in_flight(environment):
    child = Child(environment=environment)
    process = server_of(child)
    is_training = threading.Event()
    ended = []

    def work():
        try:
            child.call("profile", ENDLESS, on_event=lambda _: is_training.set())
        except TaskDied as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert is_training.wait(30)
    child.close()
    thread.join(10)
    assert len(ended) == 1
    wait_until_gone(process)
    child.close()  # nothing is left to close


PARENT = """
import json, sys
from pareconv.search.executors.child import Child
from pareconv.storage.errors import QuotaReached
Child().call("profile", json.loads(sys.argv[1]), on_event=lambda _: print("event", flush=True))
"""


def test_a_parent_that_is_killed_leaves_no_process(environment):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, json.dumps(ENDLESS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | environment,
    )
    with parent:
        assert parent.stdout.readline() == "event\n"
        (server,) = psutil.Process(parent.pid).children()
        parent.send_signal(signal.SIGKILL)
    wait_until_gone(server)


def test_a_task_that_may_store_nothing_more_says_so_itself(environment):
    with (
        Child(environment=environment | {"PARECONV_QUOTA_BYTES": "10"}) as child,
        pytest.raises(QuotaReached, match=r"of 10 bytes.*pareconv gc"),
    ):
        child.call("profile", {"spec": TRAINED})
