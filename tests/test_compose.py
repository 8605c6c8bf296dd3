"""docker-compose.yml without Docker: it is valid, and what it starts works together.

The processes are started as the file says, with the environment that it gives them and nothing else
of PARECONV_ or AWS_, each when those that it depends on are healthy by the file's own checks. Names
and ports of the network that compose would make are replaced by those on this machine; PostgreSQL
and the S3 server are those of the tests, and their checks are not run.
"""

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import jsonschema
import pytest
import yaml
from sqlalchemy import make_url

from pareconv.service.client import Client

ROOT = Path(__file__).parent.parent
FILE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SCHEMA = json.loads((ROOT / "tests/compose/compose-spec.json").read_text())
SECRETS = {"POSTGRES_PASSWORD": "aDatabasePassword", "S3_SECRET_KEY": "anObjectSecret"}
OURS = ("api", "worker")
VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::([-?])([^}]*))?\})")

# Seconds, not quality.
SPEC = {
    "teacher": {
        "architecture": "cifar_resnet8",
        "training": {"epochs": 3, "batch_size": 64, "lr": 0.1},
    },
    "dataset": {"source": "digits", "image_size": 8},
    "budget": {"flops": "60%"},
    "library": {"rungs": 1, "images": 128, "score_images": 64},
    "search": {"trials": 2, "stop_early": False, "operators": ["svd"], "repeats": 0},
    "distill": {"epochs": 0.1},
    "finish": {"finalists": 1, "epochs": 1, "formats": ["onnx"]},
    "device": "cpu",
}


def substituted(part, variables):
    """As compose does, in every text: `${NAME:?why}`, `${NAME:-default}`, `$$`."""
    if isinstance(part, dict):
        return {name: substituted(each, variables) for name, each in part.items()}
    if isinstance(part, list):
        return [substituted(each, variables) for each in part]
    if not isinstance(part, str):
        return part

    def value(match):
        dollar, name, kind, rest = match.groups()
        if dollar:
            return "$"
        if not variables.get(name) and kind == "?":
            raise KeyError(f"{name}: {rest}")
        return variables.get(name) or (rest if kind == "-" else "")

    return VARIABLE.sub(value, part)


@pytest.fixture(scope="module")
def compose():
    return substituted(FILE, SECRETS)


def test_it_is_a_compose_file(compose):
    jsonschema.Draft7Validator(SCHEMA).validate(compose)
    compose["services"]["api"]["comand"] = ["true"]
    with pytest.raises(jsonschema.ValidationError, match="comand"):
        jsonschema.Draft7Validator(SCHEMA).validate(compose)
    del compose["services"]["api"]["comand"]


@pytest.mark.parametrize("name", SECRETS)
def test_without_a_secret_it_does_not_start(name):
    with pytest.raises(KeyError, match=f"{name}: set it"):
        substituted(FILE, SECRETS | {name: ""})


def test_no_secret_stands_in_it():
    parsed = FILE["services"].values()
    variables = {k: str(v) for service in parsed for k, v in service["environment"].items()}
    secret = [value for name, value in variables.items() if re.search("PASSWORD|SECRET", name)]
    assert len(secret) == 3
    assert all(re.fullmatch(r"\$\{\w+:\?set it\}", each) for each in secret)
    assert "${POSTGRES_PASSWORD:?set it}" in variables["PARECONV_DATABASE_URL"]


def test_who_depends_on_another_waits_until_it_is_healthy(compose):
    services = compose["services"]
    for service in services.values():
        assert service["healthcheck"]["test"]
        for name, needed in service.get("depends_on", {}).items():
            assert name in services
            assert needed == {"condition": "service_healthy"}


def test_it_publishes_nothing_but_the_api_and_that_on_loopback(compose):
    published = {n: s["ports"] for n, s in compose["services"].items() if "ports" in s}
    assert published == {"api": ["127.0.0.1:8000:8000"]}


def test_what_is_kept_is_kept_in_named_volumes(compose):
    used = [each.split(":") for s in compose["services"].values() for each in s["volumes"]]
    assert {name for name, _ in used} == set(compose["volumes"])


def test_the_credentials_of_clients_are_those_of_the_servers(compose):
    services = {name: each["environment"] for name, each in compose["services"].items()}
    for name in OURS:
        url = make_url(services[name]["PARECONV_DATABASE_URL"])
        postgres = services["postgres"]
        assert url.username == postgres["POSTGRES_USER"]
        assert url.password == postgres["POSTGRES_PASSWORD"] == SECRETS["POSTGRES_PASSWORD"]
        assert (url.host, url.port) == ("postgres", 5432)
        objects = services["objects"]
        assert services[name]["AWS_ACCESS_KEY_ID"] == objects["ROOT_ACCESS_KEY_ID"]
        assert services[name]["AWS_SECRET_ACCESS_KEY"] == objects["ROOT_SECRET_ACCESS_KEY"]
        assert services[name]["AWS_ENDPOINT_URL"] == f"http://objects{objects['VGW_PORT']}"


def test_the_image_gets_what_the_packages_need():
    lines = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    copied = {name for line in lines for name in line.split()}
    needed = {"pyproject.toml", "constraints.txt", "README.md", "LICENSE"}
    assert copied == needed | {"models", "search", "service", "storage"}
    sent = (ROOT / ".dockerignore").read_text().split()
    assert {name.removeprefix("!") for name in sent if name.startswith("!")} == copied


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Stack:
    """The services of ours as processes of this machine."""

    def __init__(self, compose, folder, database_url, s3_server):
        self._services = compose["services"]
        self._folder = folder
        self.port = free_port()
        self._elsewhere = {
            compose["services"]["api"]["environment"]["PARECONV_DATABASE_URL"]: database_url,
            "http://objects:7070": s3_server["AWS_ENDPOINT_URL"],
            "127.0.0.1:8000": f"127.0.0.1:{self.port}",
        }
        self.processes = []

    def environment(self, name):
        kept = {k: os.environ[k] for k in ("PATH", "PYTHONPATH", "LANG") if k in os.environ}
        given = {k: self._here(v) for k, v in self._services[name]["environment"].items()}
        # What the image sets, and the volume that is mounted there.
        volume = self._services[name]["volumes"][0].partition(":")[0]
        image = {"PARECONV_HOME": str(self._folder / volume), "HOME": str(self._folder)}
        return kept | image | given | {"OMP_NUM_THREADS": "1"}

    def up(self, scale):
        """Start all, those that others depend on first."""
        healthy = {"postgres", "objects"}
        waiting = dict.fromkeys(OURS)
        while waiting:
            name = next(n for n in waiting if healthy.issuperset(self._services[n]["depends_on"]))
            for number in range(scale.get(name, 1)):
                self._start(name, number)
            healthy.add(name)
            del waiting[name]

    def down(self):
        """Ask all to end, as `docker compose down` does; their exit codes."""
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(30) for process in self.processes]
        self.processes.clear()
        return codes

    def kill(self):
        for process in self.processes:
            process.kill()
            process.wait()

    def run(self, name, *arguments):
        """`docker compose run`: another command in a service's surroundings; what it printed."""
        done = self._ran(name, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def gc(self):
        """A collection beside all that runs. Where the store is too busy for it, it says so in a
        line, and is tried again as cron would.
        """
        for _ in range(2):
            done = self._ran("api", "gc", "--grace-hours", "0")
            if done.returncode == 0:
                return done.stdout
            assert "Traceback" not in done.stderr
        return self.run("api", "gc", "--grace-hours", "0")

    def _ran(self, name, *arguments):
        command = [sys.executable, "-P", "-m", "pareconv.service.cli", *arguments]
        return subprocess.run(
            command,
            env=self.environment(name),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def _start(self, name, number):
        alive = str(self._folder / f"alive-{number}")
        program, *arguments = self._services[name]["command"]
        assert program == "pareconv"
        own = {"8000": str(self.port), "/tmp/alive": alive}
        command = [sys.executable, "-P", "-m", "pareconv.service.cli"]
        command += [own.get(each, each) for each in arguments]
        environment = self.environment(name)
        with (self._folder / f"{name}-{number}.log").open("wb") as log:
            process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        self.processes.append(process)
        self._wait(name, process, alive)

    def _wait(self, name, process, alive):
        kind, *check = self._services[name]["healthcheck"]["test"]
        check = [self._here(each).replace("/tmp/alive", alive) for each in check]
        check = ["sh", "-c", *check] if kind == "CMD-SHELL" else check
        check = [sys.executable if each == "python" else each for each in check]
        deadline = time.monotonic() + 120
        while subprocess.run(check, capture_output=True, check=False).returncode != 0:
            assert process.poll() is None, f"{name} ended:\n{self.logs()}"
            assert time.monotonic() < deadline, f"{name} is not healthy:\n{self.logs()}"
            time.sleep(0.2)

    def logs(self):
        return "\n".join(path.read_text() for path in sorted(self._folder.glob("*.log")))

    def _here(self, text):
        for name, address in self._elsewhere.items():
            text = str(text).replace(name, address)
        return text


@pytest.fixture
def stack(compose, team_url, s3_server, tmp_path):
    stack = Stack(compose, tmp_path, team_url, s3_server)
    yield stack
    stack.kill()


def test_a_job_goes_through_what_it_starts(stack, tmp_path):
    token = stack.run("api", "token", "create", "--scope", "admin").strip()
    stack.up(scale={"worker": 2})
    with Client(f"http://127.0.0.1:{stack.port}", token) as client:
        job = client.jobs.create(SPEC)
        for event in job.watch():
            assert event.level != "error", event
            if event.type in {"profiled", "trial"}:  # the job's worker goes on meanwhile
                assert "Removed 0 of" in stack.gc()
        assert job.refresh().status == "succeeded", stack.logs()
        [student] = job.students()
        [path] = job.download(tmp_path)
        [file] = student.artifacts
        assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
        board = f"{client.url}/dashboard/"
        assert httpx.get(board, timeout=60).status_code == 401
        asked = {"authorization": f"Bearer {token}"}
        shown = httpx.get(board, headers=asked, follow_redirects=True, timeout=60)
        assert shown.status_code == 200

        assert "Removed 0 of" in stack.gc()
        job.delete()
        client.libraries.delete(client.libraries.page().items[0].id)
        assert "Removed 0 of 0 files" in stack.run("api", "gc", "--grace-hours", "0")
    assert stack.down() == [0, 0, 0]
