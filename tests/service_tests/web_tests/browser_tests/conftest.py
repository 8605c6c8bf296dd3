"""A Chromium, and a server with a real worker for it to look at.

Without a Chromium these tests are not collected; the end of the run says so.
PARECONV_REQUIRE_BROWSER=1 makes that an error.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

NOT_FOUND = "Chromium: not found, the browser tests did not run; install it (apt install chromium)"
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_SECONDS = 60.0
_PICTURES = Path(__file__).parents[4] / "build" / "screenshots"
_UNANSWERED = re.compile(r"Failed to load resource|htmx:(sendError|sendAbort|afterRequest), ")


@cache
def chromium() -> str | None:
    found = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    return next(filter(None, found), None)


if chromium() is None:
    if os.environ.get("PARECONV_REQUIRE_BROWSER") == "1":
        raise pytest.UsageError(NOT_FOUND)
    collect_ignore_glob = ["test_*.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if chromium() is None:
        terminalreporter.write_line(NOT_FOUND, yellow=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of a module, not of the session: other tests may want an event loop of their own."""
    expect.set_options(timeout=1000 * _SECONDS)  # machines under load take their time
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=[*_ARGUMENTS])
        yield browser
        browser.close()


@pytest.fixture
def context_of(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Contexts whose pages must say nothing on their console: no error, no refused style.

    A server that does not answer, and a request that is given up, are said there by htmx too.
    """
    contexts: list[BrowserContext] = []
    said: list[str] = []

    def make(**options: object) -> BrowserContext:
        context = browser.new_context(**options)
        context.set_default_timeout(1000 * _SECONDS)
        context.on("console", lambda message: said.extend(_complaints(message)))
        context.on("weberror", lambda found: said.append(str(found.error)))
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()
    assert said == []


def _complaints(message: ConsoleMessage) -> Iterator[str]:
    if message.type in {"error", "warning"} and not _UNANSWERED.match(message.text):
        yield message.text


@pytest.fixture
def page(context_of: Callable[..., BrowserContext]) -> Page:
    return context_of(viewport={"width": 1280, "height": 900}).new_page()


@pytest.fixture(scope="session")
def picture() -> Callable[[Page, str], None]:
    """Keeps how a page looks, for people to look at."""
    _PICTURES.mkdir(parents=True, exist_ok=True)

    def keep(page: Page, name: str) -> None:
        plain = re.sub(r"\W+", "-", name)
        page.screenshot(path=_PICTURES / f"{plain}.png", full_page=True, animations="disabled")

    return keep


class Server:
    """`pareconv serve` as a process of its own, which can be stopped and started again."""

    def __init__(self, home: Path) -> None:
        self._home = home
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self._port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        ours = {n: v for n, v in os.environ.items() if not n.startswith("PARECONV_")}
        command = (sys.executable, "-P", "-m", "pareconv.service.cli", "serve", "--workers", "1")
        place = ("--port", str(self._port), "--home", str(self._home))
        with (self._home / "serve.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *place], env=ours, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + _SECONDS
        while not self._is_up():
            assert self._process.poll() is None, (self._home / "serve.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(_SECONDS)
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def _is_up(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz").status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("served"))
    server.start()
    yield server
    server.stop()
