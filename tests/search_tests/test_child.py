"""A child process and the calls that it serves, whatever its tasks do."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

from pareconv.search.errors import JobFailed, TaskDied, TaskFailed, TaskTimeout
from pareconv.search.executors.child import Child
from pareconv.storage import logs

ENDLESS = {"seconds": 3600}
LIGHT = "light_tasks"


class Interruption(Exception):
    """What a caller raises to stop a task."""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return {
        "PARECONV_HOME": str(tmp_path_factory.mktemp("home")),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }


@pytest.fixture(scope="module")
def new_child(environment):
    return partial(Child, environment=environment, tasks=LIGHT)


@pytest.fixture(scope="module")
def child(new_child):
    with new_child() as child:
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
    return psutil.Process(child.call("echo", {})["pid"])


def wait_until_gone(process):
    assert not psutil.wait_procs([process], timeout=10)[1]


def test_a_task_answers_and_the_process_stays_warm(child):
    process = server_of(child)
    assert process != psutil.Process()
    assert process.is_running()
    assert server_of(child) == process


def test_a_started_process_is_the_one_that_serves(new_child):
    before = set(children())
    with new_child() as child:
        child.start()
        started = set(children()) - before
        child.start()
        child.call("echo", {})
        assert set(children()) - before == started
    assert len(started) == 1


def test_memory_is_kept_between_steps_unless_the_user_says_otherwise(new_child, monkeypatch):
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    with new_child() as child:
        found = server_of(child).environ()
    assert int(found["MALLOC_TRIM_THRESHOLD_"]) == 2**30
    assert found["MALLOC_MMAP_THRESHOLD_"] == "65536"


def test_after_an_error_the_same_process_goes_on(child):
    process = server_of(child)
    with pytest.raises(TaskFailed, match=r"ZeroDivisionError: by zero$"):
        child.call("stumble", {})
    assert server_of(child) == process


def test_events_arrive_while_the_task_runs(child):
    told = []
    result = child.call("sleep", {"seconds": 0.5}, on_event=lambda _: told.append(time.monotonic()))
    assert result["pid"] == server_of(child).pid
    assert time.monotonic() - told[0] > 0.4


def test_a_task_whose_process_is_killed_dies_and_the_next_call_works(child):
    process = server_of(child)
    with pytest.raises(TaskDied, match=r"sleep.*killed by SIGKILL"):
        child.call("sleep", ENDLESS, on_event=lambda _: process.kill())
    assert server_of(child) != process


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
    assert server_of(child) != process


def test_while_a_task_runs_its_process_is_well(child):
    found = []
    with pytest.raises(Interruption):
        child.call("sleep", ENDLESS, poll=lambda: tell(child, found))
    assert found == [None]


def tell(child, found):
    found.append(child.failure())
    raise Interruption


def test_a_process_that_cannot_be_started_is_told(new_child, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with new_child() as child:
        assert "No such file" in child.failure()


def test_what_a_task_logs_says_what_it_is_about(environment, capfd):
    variables = environment | {"PARECONV_LOG_FORMAT": "json"}
    with (
        Child(environment=variables, tasks=LIGHT) as child,
        logs.about(job="j1", request_id="r1"),
        pytest.raises(TaskFailed),
    ):
        child.call("stumble", {})
    (line,) = [json.loads(each) for each in capfd.readouterr().err.splitlines()]
    assert (line["message"], line["job"], line["request_id"]) == ("task failed", "j1", "r1")
    assert "Traceback" in line["exception"]


def test_a_task_past_its_time_limit_is_killed(child):
    process = server_of(child)
    started = time.monotonic()
    with pytest.raises(TaskTimeout, match="sleep"):
        child.call("sleep", ENDLESS, timeout_seconds=1)
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
        child.call("sleep", ENDLESS, poll=poll)
    assert caught.value is error
    assert time.monotonic() - beginning < 10
    wait_until_gone(process)


def test_what_a_listener_raises_stops_the_task(child):
    process = server_of(child)

    def on_event(event):
        raise Interruption(event["type"])

    with pytest.raises(Interruption, match="began"):
        child.call("sleep", ENDLESS, on_event=on_event)
    wait_until_gone(process)


def test_close_leaves_no_process_and_ends_a_call_in_flight(new_child):
    child = new_child()
    process = server_of(child)
    has_begun = threading.Event()
    ended = []

    def work():
        try:
            child.call("sleep", ENDLESS, on_event=lambda _: has_begun.set())
        except TaskDied as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert has_begun.wait(30)
    child.close()
    thread.join(10)
    assert len(ended) == 1
    wait_until_gone(process)
    child.close()  # nothing is left to close


PARENT = f"""
import sys
from pareconv.search.executors.child import Child
Child(tasks="{LIGHT}").call("sleep", {ENDLESS}, on_event=lambda _: print("event", flush=True))
"""


def test_a_parent_that_is_killed_leaves_no_process(environment):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
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
