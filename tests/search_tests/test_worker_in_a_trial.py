"""A worker as the process that it is, in the middle of a trial that would take hours."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from pareconv.search.spec import JobSpec
from pareconv.search.stores import Stores
from pareconv.storage.job_states import JobStatus
from pareconv.storage.settings import Settings

LONG = {
    "teacher": {"architecture": "cifar_resnet8", "training": {"epochs": 3, "batch_size": 64}},
    "dataset": {"source": "digits"},
    "budget": {"flops": "60%"},
    "library": None,
    "search": {"operators": ["svd"], "trials": 2, "stop_early": False},
    "distill": {"epochs": 1000},
    "device": "cpu",
}


def until(condition, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home", log_format="json")


@pytest.fixture
def stores(settings):
    stores = Stores.open(settings)
    yield stores
    stores.database.close()


@pytest.fixture
def worker(settings, tmp_path):
    """A running worker; its log is the file `log` of the test's folder."""
    variables = os.environ | settings.environment() | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-m", "pareconv.search.worker"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env=variables, stderr=log)
        yield psutil.Process(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_pause_and_cancel_take_effect_within_5_seconds_in_a_trial(worker, stores, tmp_path):
    job = stores.jobs.create(JobSpec.model_validate(LONG).to_json())[0].id

    def in_a_trial():
        if not stores.candidates.running(job):
            return False
        time.sleep(2)  # let it train
        return True

    def status():
        return stores.jobs.get(job).status

    until(in_a_trial)
    (task,) = worker.children()
    stores.jobs.pause(job)
    until(lambda: status() is JobStatus.PAUSED, seconds=5)
    assert not task.is_running()
    stores.jobs.resume(job)
    until(in_a_trial)
    stores.jobs.cancel(job)
    until(lambda: status() is JobStatus.CANCELLED, seconds=5)
    assert worker.children() == []

    first, second = stores.candidates.all(job)
    assert (first.reason, second.reason) == (
        "stopped: the job was paused",
        "stopped: the job was cancelled",
    )
    assert (second.plan, second.retry_of) == (first.plan, 0)
    types = [event.type for event in stores.events.page(job)]
    assert types.count("profiled") == 1  # what was done stays done

    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    told = [line["message"] for line in lines if line.get("job") == job]
    assert told == ["claimed", "paused", "claimed", "cancelled"]
