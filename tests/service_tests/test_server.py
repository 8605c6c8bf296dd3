"""The server in a process of its own, as users start it."""

import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import psutil
import pytest

from pareconv.service.errors import Unguarded
from pareconv.service.server import require_guard, serve
from pareconv.service.stores import Stores
from pareconv.storage.tokens import Scope

SERVE = (
    "from pareconv.service.server import serve;"
    "from pareconv.service.settings import ServiceSettings; serve(ServiceSettings(), print)"
)
HEAVY = "'torch', 'torchvision', 'optuna', 'optuna_dashboard'"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def python(code, **variables):
    names = (name for name in os.environ if not name.startswith("PARECONV_"))
    environment = {name: os.environ[name] for name in names} | variables
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def served(tmp_path):
    port = free_port()
    process = python(
        SERVE, PARECONV_HOME=str(tmp_path), PARECONV_PORT=str(port), PARECONV_WORKERS="0"
    )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


def wait_for(url, process):
    for _ in range(400):
        assert process.poll() is None, process.stdout.read()
        try:
            return httpx.get(url)
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"{url} does not answer")


def test_the_app_loads_neither_torch_nor_optuna(tmp_path):
    process = python(
        "import sys; from pareconv.service.app import create_app; create_app();"
        f"print([name for name in ({HEAVY}) if name in sys.modules])",
        PARECONV_HOME=str(tmp_path / "home"),
    )
    output, _ = process.communicate()

    assert output == "[]\n"
    assert list(tmp_path.iterdir()) == [], "making an app must create nothing"


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_and_ends_cleanly(served, ending):
    process, url = served

    assert wait_for(f"{url}/healthz", process).json() == {"status": "ok"}
    assert httpx.get(f"{url}/readyz").status_code == 200

    process.send_signal(ending)
    output, _ = process.communicate(timeout=20)
    assert (process.returncode, output) == (0, f"{url}\n")


def test_its_child_loads_torch_before_anybody_asks(served):
    process, url = served
    wait_for(f"{url}/healthz", process)

    (child,) = psutil.Process(process.pid).children()
    assert "pareconv.search.executors.task_server" in child.cmdline()


def test_a_server_that_is_killed_leaves_no_worker_behind(tmp_path):
    port = free_port()
    process = python(
        SERVE, PARECONV_HOME=str(tmp_path), PARECONV_PORT=str(port), PARECONV_WORKERS="2"
    )
    wait_for(f"http://127.0.0.1:{port}/healthz", process)
    server = psutil.Process(process.pid)
    while len(workers := server.children(recursive=True)) < 2:
        time.sleep(0.05)

    process.kill()
    process.communicate()

    _, alive = psutil.wait_procs(workers, timeout=30)
    for each in alive:
        each.kill()
    assert alive == []


def test_a_port_that_is_taken_is_an_error(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = python(
            SERVE,
            PARECONV_HOME=str(tmp_path),
            PARECONV_PORT=str(taken.getsockname()[1]),
            PARECONV_WORKERS="1",
        )
        output, _ = process.communicate(timeout=60)

    assert process.returncode != 0
    assert "Address already in use; is another one running there already?" in output
    assert "http" not in output, "announced is what can be asked"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_this_machine_is_served_without_a_token(settings, host):
    require_guard(settings.model_copy(update={"host": host}))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.5", "localhost.example"])
def test_others_are_served_once_there_is_a_token(settings, host):
    settings = settings.model_copy(update={"host": host})
    with pytest.raises(Unguarded, match=r"PARECONV_HOST"):
        require_guard(settings)
    with pytest.raises(Unguarded):
        serve(settings, print)
    stores = Stores.open(settings)
    stores.tokens.create(Scope.ADMIN)
    stores.database.close()
    require_guard(settings)
