"""The command line against the real app."""

import functools
import io

import pytest
from rich.console import Console
from typer.testing import CliRunner

from pareconv.service.cli.app import app
from pareconv.storage.jobs import JobStatus, Stage

TEACHER = {
    "accuracy": 0.981,
    "test_accuracy": 0.975,
    "flops": 12_500_000,
    "adds": 0,
    "params": 78042,
}
CONTENT = b"onnx bytes"


@pytest.fixture
def run(client, monkeypatch):
    """Run a command against the server of the test, in a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PARECONV_SERVER", str(client.base_url))
    return lambda *arguments, **options: CliRunner().invoke(
        app, [str(each) for each in arguments], **options
    )


@pytest.fixture
def job(client, spec):
    return client.post("/jobs", json=spec).json()["id"]


@pytest.fixture
def finished(job, stores):
    """A job that succeeded: two finalists on its front, a file of each, and another trial."""
    stores.jobs.claim("w", 60)
    profile = {"teacher": TEACHER, "budget": {"flops": 6_250_000, "params": None}}
    stores.jobs.update(job, owner="w", profile=profile, stage=Stage.FINISH, progress=1.0)
    stores.events.append(job, "trial", "trial 0 is done")
    sha256, size_bytes = stores.files.put_stream(io.BytesIO(CONTENT))
    known = {"loss": 0.3, "seconds": 1.5, "images": 80, "compute": 90.0, "rungs": []}
    known |= {"accuracy_stderr": 0.01, "checkpoint": None}
    for number, accuracy in enumerate((0.9, 0.95)):
        plan = {"layer1.0": f"svd(ratio={accuracy})"}
        cost = (number + 1) * 3_000_000
        stores.candidates.create(job, plan, flops=cost, adds=0, params=30_000)
        stores.candidates.complete(job, number, accuracy=accuracy, **known)
        finished = {"finish_accuracy": accuracy, "test_accuracy": accuracy, "compute": 900.0}
        stores.candidates.finish(job, number, **finished)
        file = {"sha256": sha256, "size_bytes": size_bytes, "filename": f"student-{number}.onnx"}
        stores.artifacts.put(job, number, format="onnx", **file)
    stores.candidates.create(job, {"layer1.0": "shift"}, flops=9_000_000, adds=0, params=30_000)
    stores.candidates.complete(job, 2, accuracy=0.8, **known | {"checkpoint": "c" * 64})
    stores.jobs.transition(job, JobStatus.SUCCEEDED, owner="w")
    return job


@pytest.fixture
def submit(run):
    """Submit a job with half of the FLOPs of a ResNet-8, and what else is asked for."""
    return functools.partial(run, "submit", "--teacher", "cifar_resnet8", "--budget-flops", "50%")


@pytest.fixture
def shown():
    """What a renderable prints in a terminal of 80 columns."""

    def text(renderable) -> str:
        console = Console(width=80, file=io.StringIO(), color_system=None)
        console.print(renderable)
        return console.file.getvalue()

    return text
