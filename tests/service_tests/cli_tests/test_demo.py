"""`demo` starts a server of its own and leaves none behind."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from pareconv.service import demo
from pareconv.service.cli.failures import Failed


def servers_of(home: Path) -> list[int]:
    arguments = (process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]))
    return [1 for each in arguments if str(home) in each]


@pytest.fixture
def _interruptible():
    """Also where the tests run in the background, which a shell lets ignore the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_the_demo_leaves_no_server_behind(tmp_path, monkeypatch):
    monkeypatch.setenv(
        "PARECONV_DATABASE_URL", "sqlite:///" + str(tmp_path / "not-for-the-demo.db")
    )
    home = tmp_path / "home"

    def interrupted() -> None:
        with demo.running_server(home, workers=0) as client:
            assert client.is_ready()
            assert servers_of(home)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert not servers_of(home)
    assert (home / "pareconv.db").exists()
    assert not (tmp_path / "not-for-the-demo.db").exists()


def test_a_demo_whose_server_does_not_come_up_names_its_log(tmp_path):
    home = tmp_path / "home"
    (home / "pareconv.db").mkdir(parents=True)

    with pytest.raises(Failed, match=str(home / "serve.log")), demo.running_server(home):
        pass

    assert not servers_of(home)
