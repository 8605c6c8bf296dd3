"""Checks take turns, and who would wait too long is told so at once."""

import threading

import pytest

from pareconv.search.spec import JobSpec
from pareconv.service.errors import Busy
from pareconv.service.tasks import Tasks
from pareconv.storage.access import EVERYTHING


def test_one_check_at_a_time_and_few_that_wait(runner, spec):
    going_on, release = threading.Event(), threading.Event()
    running = []

    def answer(_payload):
        running.append(threading.current_thread())
        going_on.set()
        assert len(running) == 1
        release.wait(10)
        running.pop()
        return {}

    runner.answers["inspect"] = answer
    tasks = Tasks(runner)
    job = JobSpec.model_validate(spec)
    waiting = [threading.Thread(target=tasks.inspect, args=(job, EVERYTHING)) for _ in range(8)]
    for each in waiting:
        each.start()
    going_on.wait(10)
    while tasks._seats._value > 0:  # until all have sat down
        pass

    with pytest.raises(Busy, match="try again later"):
        tasks.inspect(job, EVERYTHING)

    release.set()
    for each in waiting:
        each.join()
    assert len(runner.calls) == 8
    tasks.inspect(job, EVERYTHING)


def test_a_server_that_is_busy_says_when_to_come_back(client, spec, runner, assert_problem):
    runner.answers["inspect"] = Busy("8 checks wait for their turn already; try again later")

    response = client.post("/inspect", json=spec)

    assert_problem(response, 503)
    assert int(response.headers["retry-after"]) > 0
