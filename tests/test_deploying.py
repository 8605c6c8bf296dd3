"""docs/deploying/: what the files for systemd, SLURM, Kubernetes and Docker start is there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import typer.main
import yaml

from pareconv.service.cli.app import app
from pareconv.storage.database import Database
from pareconv.storage.job_states import JobStatus
from pareconv.storage.jobs import JobStore

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "docs/deploying").iterdir())
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
OPTION = re.compile(r"(?<=\s)--[a-z-]+")


def read(name):
    return (ROOT / "docs/deploying" / name).read_text()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_is_explained(file):
    assert f"](deploying/{file.name})" in (ROOT / "docs/deploying.md").read_text()


@pytest.mark.parametrize("document", ["deploying.md", *(f"deploying/{f.name}" for f in FILES)])
def test_the_options_that_they_give_exist(document):
    commands = typer.main.get_command(app).commands
    text = (ROOT / "docs" / document).read_text()
    lines = re.findall(r"^[^#|`\n]*\bpareconv (worker|serve|gc)\b([^\n`>&']*)", text, re.MULTILINE)
    lines += re.findall(r"`pareconv (worker|serve|gc)([^`]*)`", text)
    assert bool(lines) == ("pareconv worker" in text)
    for name, arguments in lines:
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(OPTION.findall(arguments)) <= known, f"pareconv {name}{arguments}"


def test_the_options_of_a_worker_are_explained():
    parameters = typer.main.get_command(app).commands["worker"].params
    known = {option for each in parameters for option in each.opts}
    rows = re.findall(r"^\| `(--[\w-]+)` \|", read("../deploying.md"), re.MULTILINE)
    assert set(rows) == known - {"--help"}


def test_kubernetes_starts_and_looks_after_what_compose_does():
    pod = yaml.safe_load(read("kubernetes.yaml"))["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["command"] == COMPOSE["worker"]["command"]
    _, check = COMPOSE["worker"]["healthcheck"]["test"]
    assert container["livenessProbe"]["exec"]["command"] == ["sh", "-c", check.replace("$$", "$")]
    [mount] = container["volumeMounts"]
    assert f"worker:{mount['mountPath']}" in COMPOSE["worker"]["volumes"]
    assert f"ENV PARECONV_HOME={mount['mountPath']}" in (ROOT / "Dockerfile").read_text()


def test_the_file_for_cuda_is_of_the_same_services():
    override = yaml.safe_load(read("compose.cuda.yml"))
    schema = json.loads((ROOT / "tests/compose/compose-spec.json").read_text())
    jsonschema.Draft7Validator(schema).validate(override)
    assert set(override["services"]) < set(COMPOSE)
    [device] = override["services"]["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])


def test_a_task_of_the_array_works_on_what_waits_and_ends(tmp_path):
    variables = tmp_path / "worker.env"
    variables.write_text(f"PARECONV_DATABASE_URL=sqlite:///{tmp_path}/jobs.db\n")
    database = Database(f"sqlite:///{tmp_path}/jobs.db")
    database.migrate()
    spec = {"teacher": {"architecture": "cifar_resnet8", "weights": "teacher:none"}}
    spec |= {"dataset": {"source": "digits"}, "budget": {"flops": "50%"}}
    job = JobStore(database).create(spec)[0].id

    environment = {name: each for name, each in os.environ.items() if "PARECONV_" not in name} | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TMPDIR": str(tmp_path),
        "PARECONV_ENVIRONMENT": str(variables),
        "PARECONV_IDLE_SECONDS": "0",
    }
    script = ROOT / "docs/deploying/slurm.sbatch"
    done = subprocess.run(["bash", script], env=environment, timeout=100, check=False)

    assert done.returncode == 0
    found = JobStore(database).get(job)
    database.close()
    assert (found.status, found.claims) == (JobStatus.FAILED, 1)
    assert "none" in found.error["detail"]
