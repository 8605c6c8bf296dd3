"""A server of the test's own: a real app on a real socket, over a temporary home."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from pareconv.service.app import create_app
from pareconv.service.settings import ServiceSettings
from pareconv.service.stores import Stores
from pareconv.storage.libraries import Library

SPEC: dict[str, Any] = {
    "name": "digits at half the FLOPs",
    "teacher": {"architecture": "cifar_resnet8"},
    "dataset": {"source": "digits"},
    "budget": {"flops": "50%"},
}

INSPECTION: dict[str, Any] = {
    "teacher": {
        "flops": 1000,
        "adds": 0,
        "params": 100,
        "latency_ms": None,
        "preparation": "none",
        "flops_by_operator": {"conv": 1000},
    },
    "classes": ["cat", "dog"],
    "images": {"train": 80, "validation": None, "held_out": 16, "test": 20},
    "image_size": 32,
    "blocks": [
        {
            "name": "layer1.0",
            "convs": ["layer1.0.conv1"],
            "options": [
                {
                    "option": "svd(ratio=0.5)",
                    "flops": 600,
                    "adds": 0,
                    "params": 60,
                    "latency_ms": None,
                }
            ],
        }
    ],
    "left_out": [{"name": "conv1", "reason": "3 input channels"}],
    "assumptions": [{"field": "teacher.normalize", "message": "taken from the images"}],
    "budget": {"flops": 500, "params": None, "latency_ms": None},
    "reachable": {
        "flops": {"least": 200, "greatest": 1000},
        "params": {"least": 20, "greatest": 100},
        "latency_ms": None,
    },
}

CATALOG: dict[str, Any] = {
    "architectures": [
        {
            "name": name,
            "family": family,
            "source": "a paper",
            "min_size": 8,
            "default_size": 32,
            "pretrained": False,
        }
        for name, family in (("cifar_resnet8", "cifar_resnet"), ("vgg11", "vgg"))
    ],
    "operators": [
        {
            "name": "svd",
            "summary": "two thin convolutions",
            "formula": "k x 1, then 1 x k",
            "cost": "r k (a + b)",
            "source": "a paper",
            "when": "always",
            "hyper": [
                {
                    "name": "ratio",
                    "low": 0.0,
                    "high": 1.0,
                    "grid": [0.5],
                    "description": "rank",
                    "default": None,
                }
            ],
        }
    ],
    "methods": [
        {
            "name": "kd",
            "summary": "soft labels",
            "formula": "KL",
            "cost": "a pass of the teacher",
            "source": "a paper",
            "when": "always",
            "parameters": [
                {
                    "name": "alpha",
                    "default": 0.9,
                    "low": 0,
                    "high": 1,
                    "description": "weight",
                    "choices": [],
                }
            ],
        }
    ],
}


class FakeRunner:
    """Answers for the child process: `answers` may hold a result, an error or a function."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.failing: str | None = None
        self.answers: dict[str, Any] = {
            "inspect": INSPECTION,
            "catalog": CATALOG,
            "check_teacher": {"format": "safetensors", "tensors": 3, "parameters": 100},
            "check_dataset": {"classes": ["cat", "dog"], "train": 80, "test": 20},
        }

    def call(self, task: str, payload: Mapping[str, Any], **_limits: Any) -> dict[str, Any]:
        self.calls.append((task, dict(payload)))
        answer = self.answers[task]
        if isinstance(answer, Exception):
            raise answer
        return answer(payload) if callable(answer) else answer

    def failure(self) -> str | None:
        return self.failing

    def close(self) -> None:
        pass

    def tasks(self) -> list[str]:
        return [task for task, _ in self.calls]


@pytest.fixture
def spec() -> dict[str, Any]:
    return {key: dict(value) if isinstance(value, dict) else value for key, value in SPEC.items()}


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture(scope="module")
def module_runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def settings(tmp_path, monkeypatch) -> ServiceSettings:
    return _settings(tmp_path, monkeypatch)


def _settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ServiceSettings:
    for name in list(os.environ):
        if name.startswith("PARECONV_"):  # a configured database is not the test's to touch
            monkeypatch.delenv(name)
    return ServiceSettings(home=folder / "home")


@contextmanager
def _running(app: FastAPI) -> Iterator[httpx.Client]:
    """A client of the app, served on a free port; the app is its `.app`."""
    config = uvicorn.Config(
        app, port=0, log_config=None, lifespan="on", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.005)
        assert server.started
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            client.app = app  # type: ignore[attr-defined]
            yield client
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def client_of(settings, runner) -> Iterator[Callable[..., httpx.Client]]:
    """Start a server with some settings changed; gives a client of it."""
    with ExitStack() as stack:

        def start(**changes: Any) -> httpx.Client:
            changed = ServiceSettings(**(settings.model_dump() | changes))
            return stack.enter_context(_running(create_app(changed, runner=runner)))

        yield start


@pytest.fixture
def client(client_of) -> httpx.Client:
    return client_of()


@pytest.fixture(scope="session")
def run_server() -> Callable[[FastAPI], AbstractContextManager[httpx.Client]]:
    return _running


@pytest.fixture(scope="module")
def settings_in() -> Iterator[Callable[[Path], ServiceSettings]]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield lambda folder: _settings(folder, monkeypatch)


@pytest.fixture(scope="module")
def shared_client(tmp_path_factory, settings_in) -> Iterator[httpx.Client]:
    """One server for a module whose requests leave nothing behind."""
    settings = settings_in(tmp_path_factory.mktemp("shared"))
    with _running(create_app(settings, runner=FakeRunner())) as client:
        yield client


@pytest.fixture
def stores(client) -> Stores:
    """The stores of the running server."""
    return client.app.state.stores


@pytest.fixture
def library(stores) -> Library:
    """A library of three entries, one of them not scored yet, in nobody's hands."""
    made = stores.libraries.open(
        key="1" * 64,
        architecture="cifar_resnet8",
        teacher="2" * 64,
        data="3" * 64,
        recipe={"images": 5000},
        teacher_cost={"flops": 1000, "params": 100, "adds": 0},
    )
    entry = {"version": 1, "rungs": 1, "settled": True, "images": 5000, "loss": 0.25}
    entry |= {"flops": -400, "params": -40, "adds": 0, "weights": "4" * 64}
    entry |= {"score_stderr": 0.01, "score_images": 1000}
    dearer = {"option": "svd(ratio=0.5)", "score": 0.1}
    cheaper = {"option": "shift", "score": 0.5, "flops": -700, "adds": 50, "params": -80}
    entries = [
        entry | {"block": "a"} | dearer,
        entry | {"block": "a"} | cheaper,
        entry | {"block": "b", "option": "shift", "settled": False},
    ]
    stores.libraries.claim(made.id, "w", 60)
    stores.libraries.put(made.id, "w", entries, 2.5e4)
    stores.libraries.set_front(made.id, "w", [{"plan": {"a": "shift"}, "score": 0.1}])
    stores.libraries.release(made.id, "w")
    return stores.libraries.get(made.id)


@pytest.fixture
def assert_problem() -> Callable[..., dict[str, Any]]:
    def check(response: httpx.Response, status: int, *, field: str | None = None) -> dict[str, Any]:
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/problem+json"
        problem: dict[str, Any] = response.json()
        assert set(problem) == {"type", "title", "status", "detail", "errors"}
        assert problem["status"] == status
        assert problem["type"].startswith("/problems/")
        if field is not None:
            assert [each["field"] for each in problem["errors"]] == [field]
        return problem

    return check
