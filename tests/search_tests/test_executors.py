"""A real job, from profile to finalists, on several processes at a time."""

import threading

import psutil
import pytest

from benchmarks.ray_cluster import running_cluster
from pareconv.models.plan import Plan
from pareconv.search.executors.choice import chosen
from pareconv.search.executors.settings import ExecutorSettings
from pareconv.search.spec import JobSpec
from pareconv.search.stores import Stores
from pareconv.search.worker import Worker
from pareconv.storage.job_states import JobStatus
from pareconv.storage.settings import Settings

SPEC = {
    "teacher": {"architecture": "cifar_resnet8", "training": {"epochs": 3, "batch_size": 64}},
    "dataset": {"source": "digits", "image_size": 8},
    "budget": {"flops": "60%"},
    "library": {"rungs": 1, "images": 128, "score_images": 64},
    "search": {"trials": 4, "operators": ["svd", "ghost"], "repeats": 0},
    "distill": {"epochs": 0.2},
    "finish": {"finalists": 2, "epochs": 1, "formats": ["safetensors", "report"]},
    "device": "cpu",
}


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.slow)])
def settings(request, monkeypatch):
    """Of an executor with two slots."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    if request.param == "local":
        yield ExecutorSettings(slots=2)
        return
    with running_cluster("--num-cpus=2", "--object-store-memory=100000000") as cluster:
        for name, value in cluster.environment.items():
            monkeypatch.setenv(name, value)
        yield ExecutorSettings(executor="ray", ray_address=cluster.address)


def test_a_job_on_two_slots_has_all_that_a_job_has(settings, tmp_path):
    places = Settings(home=tmp_path / "home", database_url=None, artifacts_url=None)
    stores = Stores.open(places)
    id = stores.jobs.create(JobSpec.model_validate(SPEC).to_json())[0].id
    with chosen(settings, places) as executor:
        assert executor.slots == 2
        worker = Worker(places, executor, threading.Event())
        assert worker.work_once()
        worker._stores.database.close()
    job = stores.jobs.get(id)
    assert job.error is None
    assert job.status is JobStatus.SUCCEEDED
    candidates = stores.candidates.all(id)
    assert len({Plan.from_json(each.plan) for each in candidates}) == len(candidates) == 4
    finalists = [each for each in candidates if each.finalist]
    assert len(finalists) == min(2, len(stores.candidates.front(id)))
    assert len(stores.artifacts.of_job(id)) == 2 * len(finalists)
    built = {each.block for each in stores.libraries.entries(job.library_id)}
    assert built == {each["name"] for each in job.profile["blocks"]}
    stores.database.close()
    left = [each for each in psutil.Process().children() if "task_server" in str(each.cmdline())]
    assert left == []
