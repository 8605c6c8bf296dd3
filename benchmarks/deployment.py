"""A deployment to be hurt: `pareconv serve` with its workers, started again whenever it dies, as
systemd or an orchestrator would.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import psutil
import psycopg
from sqlalchemy import make_url

from pareconv.service.client import Client
from pareconv.service.remote.errors import ClientError, is_passing
from pareconv.storage.settings import Settings

Part = Literal["api", "worker", "task"]

_MODULES = {
    "worker": "pareconv.search.worker",
    "task": "pareconv.search.executors.task_server",
}
_PATIENCE_SECONDS = 300.0

T = TypeVar("T")


class Deployment:
    """One server on a free port of loopback. Entered, it runs; left, nothing of it does."""

    def __init__(self, settings: Settings, *, workers: int = 1) -> None:
        self.settings = settings
        self._port = _free_port()
        self._arguments = ["--port", str(self._port), "--workers", str(workers)]
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self.client = Client(f"http://127.0.0.1:{self._port}")

    def __enter__(self) -> "Deployment":
        self.settings.home.mkdir(parents=True, exist_ok=True)
        self._keeper.start()
        self.insist(lambda: self.client.jobs.page(limit=1))
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._keeper.join()
        self.client.close()

    def insist(self, ask: Callable[[], T]) -> T:
        """What a client gets that asks again while the server is away."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return ask()
            except ClientError as error:
                if not is_passing(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def processes(self, part: Part) -> list[psutil.Process]:
        """Those that run now; of the tasks those of workers, not the server's own."""
        server = self._process
        if server is None:
            return []
        if part == "api":
            return [psutil.Process(server.pid)] if server.poll() is None else []
        with suppress(psutil.NoSuchProcess):
            workers = _running(psutil.Process(server.pid), "worker")
            if part == "worker":
                return workers
            return [task for worker in workers for task in _running(worker, "task")]
        return []

    def _keep(self) -> None:
        while not self._stopping.wait(0.2):
            if self._process is None or self._process.poll() is not None:
                self._start()
        assert self._process is not None
        everyone = [self._process.pid, *(each.pid for each in _descendants(self._process.pid))]
        self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        for pid in everyone:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()
        self._process.wait()

    def _start(self) -> None:
        with (self.settings.home / "serve.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pareconv.service.cli", "serve", *self._arguments],
                env=os.environ | self.settings.environment() | {"OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


class Gate:
    """A way to a PostgreSQL server that can be shut: what goes through it is cut off then."""

    def __init__(self, url: str) -> None:
        self._target = make_url(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._is_open = threading.Event()
        self._is_open.set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        port = self._listener.getsockname()[1]
        self.url = self._target.set(host="127.0.0.1", port=port).render_as_string(
            hide_password=False
        )

    def __enter__(self) -> "Gate":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.close()

    def open(self) -> None:
        self._is_open.set()

    def close(self) -> None:
        self._is_open.clear()
        for pair in self._pairs:
            for side in pair:
                with suppress(OSError):
                    side.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                near, _ = self._listener.accept()
                if not self._is_open.is_set():
                    near.close()
                    continue
                far = socket.create_connection(
                    (self._target.host or "127.0.0.1", self._target.port or 5432)
                )
                self._pairs.append((near, far))
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for side in (source, target):
        with suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)


@contextmanager
def database_of(backend: str, folder: Path) -> Iterator[str]:
    """The URL of a new and empty database, gone afterwards."""
    if backend == "sqlite":
        yield f"sqlite:///{folder / 'pareconv.db'}"
        return
    name = f"pareconv_bench_{os.getpid()}_{time.time_ns()}"
    server = os.environ.get("PARECONV_TEST_POSTGRES_URL", "postgresql://root@127.0.0.1/postgres")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        try:
            yield server.rpartition("/")[0] + f"/{name}"
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _running(parent: psutil.Process, part: str) -> list[psutil.Process]:
    found = []
    for child in parent.children(recursive=True):
        with suppress(psutil.Error):
            if _MODULES[part] in child.cmdline():
                found.append(child)
    return found


def _descendants(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def spec(seed: int, **parts: Any) -> dict[str, Any]:
    """A real job of some seconds: a ResNet-8 on digits, its teacher trained first."""
    return {
        "name": f"fault {seed}",
        "teacher": {"architecture": "cifar_resnet8", "training": {"epochs": 3, "batch_size": 64}},
        "dataset": {"source": "digits"},
        "budget": {"flops": "60%"},
        "library": {"rungs": 0, "score_images": 32},
        "search": {"operators": ["svd", "slim"], "trials": 4, "repeats": 0, "stop_early": False},
        "distill": {"epochs": 0.5},
        "finish": {"finalists": 1, "epochs": 0.5, "formats": ["safetensors", "onnx"]},
        "seed": seed,
        **parts,
    }
