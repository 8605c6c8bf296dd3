"""`pareconv worker` as machines start it: when it ends, what it leaves, which device it uses."""

import os
import signal
import subprocess
import sys
import time

import pytest

from pareconv.search.worker import visible_devices
from pareconv.storage.job_states import JobStatus

# Trains for hours.
ENDLESS = {
    "teacher": {"architecture": "cifar_resnet8", "training": {"epochs": 1000, "batch_size": 2}},
    "dataset": {"source": "digits", "image_size": 8},
    "budget": {"flops": "60%"},
    "device": "cpu",
}
COMMAND = [sys.executable, "-P", "-m", "pareconv.service.cli", "worker"]


@pytest.fixture
def start(home):
    """Starts the command on the home of the test; whatever is left of it is killed."""
    started = []

    def run(*options):
        variables = {"PARECONV_HOME": str(home.settings.home), "OMP_NUM_THREADS": "1"}
        started.append(
            subprocess.Popen(
                [*COMMAND, *map(str, options)], env=os.environ | variables, start_new_session=True
            )
        )
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_a_worker_without_jobs_ends_when_it_shall(start):
    assert start("--idle-exit", 0).wait(60) == 0


def test_a_worker_that_is_told_to_end_gives_its_job_back(start, home, tmp_path):
    home.stores.jobs.create(ENDLESS)
    [job] = home.stores.jobs.page(1)[0]
    alive = tmp_path / "alive"
    process = start("--heartbeat", alive)
    until(lambda: home.stores.jobs.get(job.id).progress > 0)  # its task runs

    beaten = alive.stat().st_mtime_ns
    until(lambda: alive.stat().st_mtime_ns > beaten)
    process.send_signal(signal.SIGTERM)

    assert process.wait(30) == 0
    left = home.stores.jobs.get(job.id)
    assert (left.status, left.lease_owner, left.claims) == (JobStatus.RUNNING, None, 1)
    assert home.stores.jobs.claim("another", 60).id == job.id


def test_a_device_that_is_none_is_refused(start):
    assert start("--device", "gpu").wait(60) == 2


def test_a_worker_ends_after_one_job_or_when_none_comes(home):
    for _ in range(3):
        home.submit()
    worker, _ = home.worker()
    worker.run(once=True)
    statuses = [job.status for job in home.stores.jobs.page(10)[0]]
    assert statuses == [JobStatus.QUEUED, JobStatus.QUEUED, JobStatus.SUCCEEDED]
    worker, _ = home.worker()
    worker.run(idle_seconds=0)
    assert {job.status for job in home.stores.jobs.page(10)[0]} == {JobStatus.SUCCEEDED}


@pytest.mark.parametrize(
    ("device", "visible", "expected"),
    [
        ("cpu", None, ""),
        ("cpu", "0,1", ""),
        ("cuda:0", None, "0"),
        ("cuda:3", None, "3"),
        ("cuda:1", "4,7", "7"),
        ("cuda:0", "GPU-8932f937", "GPU-8932f937"),
    ],
)
def test_a_device_is_counted_among_those_that_are_visible(device, visible, expected):
    assert visible_devices(device, visible) == expected


@pytest.mark.parametrize(("device", "visible"), [("cuda:0", ""), ("cuda:2", "4,7")])
def test_a_device_that_is_not_visible_is_refused(device, visible):
    with pytest.raises(ValueError, match=f"{device}: CUDA_VISIBLE_DEVICES is '{visible}'"):
        visible_devices(device, visible)
