"""A Ray cluster of this machine, for as long as it is entered."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

_PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Cluster:
    """Its address, and the variables with which a process has its token."""

    address: str
    environment: Mapping[str, str]


@contextmanager
def running_cluster(*options: str, path: str = "") -> Iterator[Cluster]:
    """`ray start --head` with a token and these options; `path` is added to PYTHONPATH. All of its
    processes are gone afterwards.
    """
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # a short name: sockets lie in it
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    places = filter(None, (path, os.environ.get("PYTHONPATH")))
    variables = os.environ | environment | {"PYTHONPATH": os.pathsep.join(places)}
    command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block"]
    command += ["--disable-usage-stats", "--include-dashboard=false", f"--temp-dir={folder}"]
    command += ["--node-ip-address=127.0.0.1", f"--port={port}", *options]
    log = folder / "started.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=variables)
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while "Ray runtime started" not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Ray did not start:\n{log.read_text()}")
            time.sleep(0.2)
        yield Cluster(f"127.0.0.1:{port}", environment)
    finally:
        members = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        for each in psutil.wait_procs(members, timeout=10)[1]:
            each.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
