"""Tasks on several slots of this machine."""

import os
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from pareconv.search.errors import TaskDied, TaskTimeout
from pareconv.search.executors.local import Local
from pareconv.search.executors.slots import slot_environments, visible_gpus

PATH = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}


@pytest.fixture(scope="module")
def local():
    environments = [PATH | {"SLOT": str(number)} for number in range(2)]
    with Local(environments, tasks="light_tasks") as local:
        yield local


class Threads:
    """Calls side by side; leaving waits for all."""

    def __init__(self, *calls):
        self.outcomes = {}
        self._threads = [
            threading.Thread(target=self._call, args=(number, call))
            for number, call in enumerate(calls)
        ]

    def _call(self, number, call):
        try:
            self.outcomes[number] = call()
        except Exception as error:
            self.outcomes[number] = error

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self.outcomes

    def __exit__(self, *_):
        for thread in self._threads:
            thread.join(60)


def test_calls_of_several_threads_run_side_by_side_each_in_its_slot(local):
    together = threading.Barrier(2, timeout=30)

    def call():
        payload = {"events": 1, "variables": ["SLOT"]}
        return local.call("echo", payload, on_event=lambda _: together.wait())

    with Threads(call, call) as outcomes:
        pass
    assert local.slots == 2
    assert {each["variables"]["SLOT"] for each in outcomes.values()} == {"0", "1"}
    assert len({each["pid"] for each in outcomes.values()}) == 2


def test_one_call_more_than_slots_waits_for_its_turn_and_can_be_given_up(local):
    busy, release = threading.Barrier(3, timeout=30), threading.Event()

    def hold():
        def on_event(_):
            busy.wait()
            release.wait(30)

        return local.call("echo", {"events": 1}, on_event=on_event)

    def poll():
        raise Interrupted

    with Threads(hold, hold):
        busy.wait()
        with pytest.raises(Interrupted):
            local.call("echo", {}, poll=poll)
        release.set()
    assert local.call("echo", {})["pid"]


def test_a_death_or_a_time_limit_in_one_slot_leaves_the_other_alone(local):
    release = threading.Event()

    def hold():
        return local.call("echo", {"events": 1}, on_event=lambda _: release.wait(60))

    with Threads(hold) as outcomes:
        with pytest.raises(TaskDied, match="SIGKILL"):
            local.call("die", {})
        with pytest.raises(TaskTimeout):
            local.call("sleep", {"seconds": 300}, timeout_seconds=0.5)
        release.set()
    assert outcomes[0]["pid"]


def test_close_kills_what_runs(tmp_path):
    began = threading.Event()
    pids = []

    def on_event(event):
        pids.append(event["pid"])
        if len(pids) == 2:
            began.set()

    local = Local([PATH, PATH], tasks="light_tasks")
    call = lambda: local.call("sleep", {"seconds": 300}, on_event=on_event)  # noqa: E731
    with Threads(call, call) as outcomes:
        assert began.wait(30)
        local.close()
    assert [type(each) for each in outcomes.values()] == [TaskDied, TaskDied]
    deadline = time.monotonic() + 10
    while any(map(psutil.pid_exists, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Interrupted(Exception):
    """What a caller raises to give a task up."""


@pytest.mark.parametrize(
    ("slots", "gpus", "expected"),
    [
        (None, [], [None]),
        (None, ["0"], [None]),
        (None, ["0", "2"], ["0", "2"]),
        (1, ["0", "1"], [None]),
        (3, ["0", "1"], ["0", "1", "0"]),
        (2, [], [None, None]),
    ],
)
def test_each_slot_has_a_gpu_of_its_own_as_far_as_there_are_enough(slots, gpus, expected):
    found = slot_environments(slots, gpus, {})
    assert [each.get("CUDA_VISIBLE_DEVICES") for each in found] == expected


def test_slots_share_the_threads_unless_the_user_says_how_many_each_has():
    cores = len(os.sched_getaffinity(0))
    assert slot_environments(1, [], {}) == [{}]
    for slots in (2, 3):
        threads = {each["OMP_NUM_THREADS"] for each in slot_environments(slots, [], {})}
        assert threads == {str(max(1, cores // slots))}
    assert slot_environments(2, [], {"OMP_NUM_THREADS": "3"}) == [{}, {}]


@pytest.mark.parametrize(
    ("named", "found"),
    [("", []), ("0", ["0"]), ("1, 3", ["1", "3"]), ("0,-1,1", ["0"]), ("GPU-8f,", ["GPU-8f"])],
)
def test_only_the_gpus_that_this_process_may_see_are_dealt(named, found):
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": named}) == found


def test_without_a_driver_there_is_no_gpu(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert visible_gpus({}) == []
