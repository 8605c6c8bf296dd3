"""Ray as executor, on a cluster of this machine that asks for a token."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.ray_cluster import running_cluster
from pareconv.search.errors import Diverged, TaskDied, TaskFailed, TaskTimeout
from pareconv.search.executors.settings import ExecutorSettings

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def cluster():
    options = ("--num-cpus=2", "--num-gpus=1", "--object-store-memory=100000000")
    with running_cluster(*options, path=str(HERE)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def ray(cluster):
    from pareconv.search.executors.ray import Ray

    with pytest.MonkeyPatch.context() as patch:
        for name, value in cluster.environment.items():
            patch.setenv(name, value)
        settings = ExecutorSettings(executor="ray", ray_address=cluster.address)
        with Ray(settings, {"PARECONV_HOME": "/a/home"}, tasks="light_tasks") as ray:
            yield ray


def wait_until_gone(pid, seconds=10):
    deadline = time.monotonic() + seconds
    while psutil.pid_exists(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_task_answers_with_its_events_on_the_way(ray):
    events = []
    answer = ray.call("echo", {"events": 3}, on_event=events.append)
    assert [event["done"] for event in events] == [0, 1, 2]
    assert answer["pid"] != os.getpid()


def test_the_process_of_a_task_that_took_no_gpu_stays_warm(ray):
    payload = {"spec": {"device": "cpu"}}
    pids = {ray.call("echo", payload)["pid"] for _ in range(6)}
    assert len(pids) <= 2  # as many as there are processors


def test_tasks_have_the_environment_that_was_given_to_them(ray):
    answer = ray.call("echo", {"variables": ["PARECONV_HOME"]})
    assert answer["variables"] == {"PARECONV_HOME": "/a/home"}


def test_there_is_one_slot_for_each_gpu_of_the_cluster(ray):
    assert ray.slots == 1


@pytest.mark.parametrize(
    ("device", "gpus", "seen"), [("cpu", "auto", None), ("auto", "auto", "0"), ("cuda", 0.5, "0")]
)
def test_a_task_sees_the_gpu_that_it_was_given(device, gpus, seen, ray, monkeypatch):
    settings = ray._settings.model_copy(update={"ray_gpus": gpus})
    monkeypatch.setattr(ray, "_settings", settings)
    payload = {"spec": {"device": device}, "variables": ["CUDA_VISIBLE_DEVICES"]}
    answer = ray.call("echo", payload)
    assert answer["variables"]["CUDA_VISIBLE_DEVICES"] == seen


def test_parts_of_a_gpu_are_as_many_slots(ray, monkeypatch):
    def slots(**changes):
        monkeypatch.setattr(ray, "_settings", ray._settings.model_copy(update=changes))
        return ray.slots

    assert slots(ray_gpus=0.5) == 2
    assert slots(ray_gpus=0.25, ray_cpus=0.5) == 4
    assert slots(ray_gpus=0.0, ray_cpus=1.0) == 2
    assert slots(slots=7) == 7


def test_errors_come_back_as_what_they_were(ray):
    with pytest.raises(Diverged, match="nan") as caught:
        ray.call("diverge", {})
    assert caught.value.compute == 7.0
    with pytest.raises(TaskFailed, match="ZeroDivisionError: by zero"):
        ray.call("stumble", {})


def test_a_task_that_there_is_not_fails_and_is_not_a_death(ray):
    with pytest.raises(TaskFailed, match="nothing") as caught:
        ray.call("nothing", {})
    assert not isinstance(caught.value, TaskDied)


def test_a_death_is_told_and_not_tried_again_by_ray(ray, tmp_path):
    with pytest.raises(TaskDied, match="die_once"):
        ray.call("die_once", {"path": str(tmp_path / "died")})
    assert ray.call("die_once", {"path": str(tmp_path / "died")}) == {}


def test_what_poll_raises_kills_the_process_within_seconds(ray):
    """Also where the task does not listen, asleep as it is."""
    pids = []

    def poll():
        if pids:
            raise Interrupted

    with pytest.raises(Interrupted):
        ray.call("sleep", {"seconds": 300}, on_event=lambda e: pids.append(e["pid"]), poll=poll)
    wait_until_gone(pids[0], 5)


def test_a_task_past_its_time_limit_is_killed(ray):
    pids = []
    with pytest.raises(TaskTimeout, match="sleep"):
        ray.call(
            "sleep", {"seconds": 300}, timeout_seconds=1, on_event=lambda e: pids.append(e["pid"])
        )
    wait_until_gone(pids[0])


def test_calls_of_two_threads_run_side_by_side(ray, monkeypatch):
    """Each waits for the other."""
    monkeypatch.setattr(ray, "_settings", ray._settings.model_copy(update={"ray_gpus": 0.5}))
    together = threading.Barrier(2, timeout=60)
    pids = []

    def call():
        answer = ray.call("sleep", {"seconds": 0}, on_event=lambda _: together.wait())
        pids.append(answer["pid"])

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(pids)) == 2


ALONE = """
import sys
from pareconv.search.errors import NoExecutor
from pareconv.search.executors.ray import Ray
from pareconv.search.executors.settings import ExecutorSettings
try:
    Ray(ExecutorSettings(executor="ray", ray_address=sys.argv[1]), {})
except NoExecutor as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        # Ray tries for a while before it gives up.
        pytest.param({"RAY_AUTH_TOKEN": "0" * 64}, "no Ray cluster at", marks=pytest.mark.slow),
        ({"RAY_AUTH_MODE": "disabled"}, "RAY_AUTH_MODE=disabled"),
    ],
)
def test_without_the_right_token_there_is_no_way_in(changes, told, cluster):
    done = subprocess.run(
        [sys.executable, "-c", ALONE, cluster.address],
        env=os.environ | cluster.environment | changes,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert told in done.stdout


class Interrupted(Exception):
    """What a caller raises to stop a task."""
