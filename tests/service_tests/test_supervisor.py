"""Workers as processes: started, started again, ended."""

import logging
import os
import signal
import sys
import time

import psutil
import pytest

from pareconv.service.supervisor import Patience, Supervisor

OBEDIENT = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    "print('ready', file=open(sys.argv[1], 'w'), flush=True); time.sleep(600)"
)
QUICK = Patience(first_seconds=0.01, slow_seconds=60, short_lives=3, stop_seconds=0.5)


@pytest.fixture
def supervise():
    running = []

    def start(count, *command, environment=None, patience=QUICK):
        supervisor = Supervisor(
            count,
            environment or {},
            command=(sys.executable, "-S", "-c", *command),
            patience=patience,
        )
        supervisor.start()
        running.append(supervisor)
        return supervisor

    yield start
    for each in running:
        each.stop()


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_it_starts_so_many_and_ends_them_all(supervise):
    supervisor = supervise(2, OBEDIENT)
    until(lambda: len(supervisor.pids) == 2)
    pids = supervisor.pids

    supervisor.stop()

    assert supervisor.pids == []
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_worker_that_is_killed_is_started_again(supervise):
    supervisor = supervise(1, OBEDIENT)
    until(lambda: supervisor.pids)
    [first] = supervisor.pids

    os.kill(first, signal.SIGKILL)

    until(lambda: supervisor.pids and supervisor.pids != [first])


def test_one_that_does_not_end_is_killed_with_its_children(supervise, tmp_path):
    ready = tmp_path / "ready"
    supervisor = supervise(1, STUBBORN, str(ready))
    until(lambda: ready.exists() and ready.read_text())
    [pid] = supervisor.pids
    [child] = psutil.Process(pid).children()

    supervisor.stop()

    assert not psutil.pid_exists(pid)
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_one_that_dies_at_once_is_slowed_down_and_reported(supervise, tmp_path, caplog):
    log = tmp_path / "starts"
    with caplog.at_level(logging.WARNING):
        supervise(1, "import sys; open(sys.argv[1], 'a').write('x'); sys.exit(3)", str(log))
        until(lambda: any(each.levelno == logging.ERROR for each in caplog.records))
        time.sleep(0.5)

    assert log.read_text() == "x" * 3
    error = next(each for each in caplog.records if each.levelno == logging.ERROR)
    assert "code 3" in error.getMessage()
    assert "60.0 s" in error.getMessage()


def test_waits_double_up_to_the_slow_ones():
    patience = Patience()

    waits = [patience.wait_seconds(short_lives) for short_lives in range(1, 7)]

    assert waits == [0.5, 1, 2, 4, 60, 60]


def test_a_worker_gets_the_settings_and_its_parent(supervise, tmp_path):
    seen = tmp_path / "seen"
    supervise(
        1,
        "import os, sys, time; open(sys.argv[1], 'w').write("
        "os.environ['PARECONV_HOME'] + ' ' + os.environ['PARECONV_PARENT_PID']); time.sleep(600)",
        str(seen),
        environment={"PARECONV_HOME": "/some/home"},
    )

    until(lambda: seen.exists() and seen.read_text() == f"/some/home {os.getpid()}")


def test_it_may_be_stopped_before_it_was_started():
    supervisor = Supervisor(3, {})

    supervisor.stop()

    assert supervisor.pids == []
