"""The demo: one whole job on handwritten digits, on a server that it starts and stops itself."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from pareconv.service.cli.failures import Failed
from pareconv.service.cli.watching import follow
from pareconv.service.client import Client
from pareconv.service.figures import size_of

# Chosen so that the whole takes under 5 minutes on 2 cores.
SPEC: dict[str, Any] = {
    "name": "demo: digits at half the FLOPs",
    "teacher": {"architecture": "cifar_resnet8", "training": {"epochs": 15}},
    "dataset": {"source": "digits"},
    "budget": {"flops": "50%"},
    "search": {"trials": 8},
    "distill": {"epochs": 1},
    "finish": {"finalists": 1, "epochs": 4},
    "seed": 0,
}

_READY_SECONDS = 120.0
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.2


def run(*, home: Path | None = None, to: Path | None = None) -> None:
    """Run the job and show its front; JobEnded unless it succeeded. The home stays afterwards."""
    home = (home or Path(tempfile.mkdtemp(prefix="pareconv-demo-"))).absolute()
    with _ended_by_sigterm(), running_server(home) as client:
        typer.echo(f"A server for the demo runs at {client.url}, its home is {home}")
        job = client.jobs.create(SPEC)
        follow(job, server=client.url)
        for path in job.download(to or home / "demo"):
            typer.echo(f"Saved {path} ({size_of(path.stat().st_size)})")
    port = client.url.rpartition(":")[2]
    typer.echo(
        "The server is stopped. Its pages and files are there again after\n"
        f"  pareconv serve --home {shlex.quote(str(home))} --port {port}"
    )


@contextmanager
def running_server(home: Path, *, workers: int = 1) -> Iterator[Client]:
    """A server on a free loopback port, as `pareconv serve` starts it; gone afterwards.

    Raises Failed, naming its log, when it does not come up.
    """
    home.mkdir(parents=True, exist_ok=True)
    log = home / "serve.log"
    port = _free_port()
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
    command = [sys.executable, "-P", "-m", "pareconv.service.cli", "serve", *arguments]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*command, "--home", str(home)],
            env=_embedded(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process, which then stops the server
        )
    try:
        with Client(f"http://127.0.0.1:{port}") as client:
            _wait_until_ready(client, process, log)
            yield client
    finally:
        _stop(process)


def _embedded(environment: Mapping[str, str]) -> dict[str, str]:
    """Without settings of the user's own: the demo must not touch a database that they name."""
    return {name: each for name, each in environment.items() if not name.startswith("PARECONV_")}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_until_ready(client: Client, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not client.is_ready():
        code = process.poll()
        if code is not None:
            raise Failed(f"the server ended with exit code {code}; its log is {log}")
        if time.monotonic() > deadline:
            raise Failed(f"the server was not ready after {_READY_SECONDS:.0f} s; its log is {log}")
        time.sleep(_POLL_SECONDS)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does, so that its server is stopped too."""
    former = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
