"""A job's events over HTTP: pages, and a stream that can be taken up again."""

import json
import threading
import time

import pytest

from pareconv.service import event_stream
from pareconv.service.routes import events
from pareconv.storage.errors import Unavailable
from pareconv.storage.events import EventStore
from pareconv.storage.jobs import JobStatus

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def job(client, spec, stores):
    """A running job with three events more than that it was queued."""
    id = client.post("/jobs", json=spec).json()["id"]
    stores.jobs.claim("w", 60)
    for number in range(3):
        stores.events.append(id, "trial", f"trial {number}", data={"trial": number})
    return id


def end(stores, job):
    stores.jobs.transition(job, JobStatus.SUCCEEDED, owner="w")


def streamed(response):
    """(id, data) of each event of a stream that has ended."""
    found = []
    for block in response.text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((int(fields["id"]), json.loads(fields["data"])))
    return found


def test_events_come_oldest_first_in_pages(client, job):
    first = client.get(f"/jobs/{job}/events", params={"limit": 3}).json()
    rest = client.get(f"/jobs/{job}/events", params={"after": first["next"]}).json()

    assert [each["type"] for each in first["items"]] == ["queued", "trial", "trial"]
    assert [each["message"] for each in rest["items"]] == ["trial 2"]
    assert rest["next"] is None
    assert set(rest["items"][0]) == {"seq", "level", "type", "message", "data", "created_at"}


def test_a_stream_sends_all_events_and_ends_with_the_job(client, job, stores):
    end(stores, job)

    response = client.get(f"/jobs/{job}/events", headers=STREAM)

    assert response.headers["content-type"].startswith("text/event-stream")
    events = streamed(response)
    assert [data["message"] for _, data in events][1:] == [
        *("trial 0", "trial 1", "trial 2"),
        "job succeeded",
    ]
    assert [id for id, _ in events] == [data["seq"] for _, data in events]


def test_a_stream_goes_on_after_the_last_event_that_was_seen(client, job, stores):
    end(stores, job)
    events = streamed(client.get(f"/jobs/{job}/events", headers=STREAM))

    headers = STREAM | {"Last-Event-ID": str(events[1][0])}
    again = streamed(client.get(f"/jobs/{job}/events?after=0", headers=headers))

    assert again == events[2:]


def test_a_client_that_knows_all_of_an_ended_job_is_told_not_to_come_back(client, job, stores):
    end(stores, job)
    last = streamed(client.get(f"/jobs/{job}/events", headers=STREAM))[-1][0]

    response = client.get(f"/jobs/{job}/events", headers=STREAM | {"Last-Event-ID": str(last)})

    assert (response.status_code, response.content) == (204, b"")


def test_a_stream_of_a_running_job_brings_what_happens_meanwhile(client, job, stores):
    messages = []
    with client.stream("GET", f"/jobs/{job}/events", headers=STREAM) as response:
        for line in response.iter_lines():
            if line.startswith("data: "):
                messages.append(json.loads(line.removeprefix("data: "))["message"])
                if messages[-1] == "trial 2":
                    stores.events.append(job, "trial", "late")
                    end(stores, job)

    assert messages[-3:] == ["trial 2", "late", "job succeeded"]


def test_a_stream_of_a_job_that_is_deleted_ends(client, job, stores):
    stores.jobs.transition(job, JobStatus.FAILED, owner="w")
    stores.jobs.resume(job)
    with client.stream("GET", f"/jobs/{job}/events", headers=STREAM) as response:
        lines = response.iter_lines()
        next(lines)
        stores.jobs.delete(job)
        rest = list(lines)

    assert "trial 2" in "".join(rest)


def test_a_message_of_several_lines_stays_one_event(client, job, stores):
    stores.events.append(job, "note", "one\ntwo\r\nid: 7\n\nthree")
    end(stores, job)

    events = streamed(client.get(f"/jobs/{job}/events", headers=STREAM))

    assert events[-2][1]["message"] == "one\ntwo\r\nid: 7\n\nthree"


def test_many_listeners_leave_room_for_others(client, job, stores):
    listeners = [
        threading.Thread(target=lambda: client.get(f"/jobs/{job}/events", headers=STREAM))
        for _ in range(20)
    ]
    for each in listeners:
        each.start()

    assert client.get(f"/jobs/{job}").status_code == 200

    end(stores, job)
    for each in listeners:
        each.join()


class Following:
    """Clients that follow a job, each in a thread; `messages` are what each has got."""

    def __init__(self, client, job, count):
        self._client, self._job = client, job
        self.messages = [[] for _ in range(count)]
        self._threads = [
            threading.Thread(target=self._follow, args=(each,)) for each in self.messages
        ]

    def __enter__(self):
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_):
        for each in self._threads:
            each.join(30)
            assert not each.is_alive()

    def wait_for(self, message):
        while not all(message in each for each in self.messages):
            time.sleep(0.01)

    def _follow(self, messages):
        with self._client.stream("GET", f"/jobs/{self._job}/events", headers=STREAM) as response:
            for line in response.iter_lines():
                if line.startswith("data: "):
                    messages.append(json.loads(line.removeprefix("data: "))["message"])


def test_the_database_is_asked_once_for_all_who_follow(client, job, stores, monkeypatch):
    asked = []

    def counted(name):
        method = getattr(EventStore, name)

        def call(self, *given):
            asked.append((name, given[0]))
            return method(self, *given)

        monkeypatch.setattr(EventStore, name, call)

    with Following(client, job, 20) as following:
        following.wait_for("trial 2")
        counted("page")
        counted("news")
        for number in range(3, 6):
            stores.events.append(job, "trial", f"trial {number}")
        following.wait_for("trial 5")
        end(stores, job)

    usual = ["waits for a worker", *(f"trial {number}" for number in range(6)), "job succeeded"]
    assert following.messages == [usual] * 20
    assert {name for name, _ in asked} == {"news"}
    assert all(set(given) == {job} for _, given in asked)


def test_who_is_far_behind_what_is_remembered_misses_nothing(client, job, stores, monkeypatch):
    monkeypatch.setattr(event_stream, "_REMEMBERED", 2)
    monkeypatch.setattr(event_stream, "_PAGE", 3)
    with Following(client, job, 3) as following:
        following.wait_for("trial 2")
        for number in range(20):
            stores.events.append(job, "trial", f"later {number}")
        end(stores, job)

    later = [*(f"later {n}" for n in range(20)), "job succeeded"]
    assert [each[4:] for each in following.messages] == [later] * 3


@pytest.mark.parametrize("error", [Unavailable("no route to the database"), ZeroDivisionError()])
def test_a_stream_outlives_a_question_that_failed(client, job, stores, monkeypatch, error):
    monkeypatch.setattr(event_stream, "_AWAY_SECONDS", 0.01)
    errors, news = [error], EventStore.news

    def fail_once(self, *given):
        if errors:
            raise errors.pop()
        return news(self, *given)

    monkeypatch.setattr(EventStore, "news", fail_once)
    with Following(client, job, 1) as following:
        following.wait_for("trial 2")
        stores.events.append(job, "trial", "late")
        end(stores, job)

    assert errors == []
    assert following.messages[0][-2:] == ["late", "job succeeded"]


def test_after_the_last_has_gone_nobody_asks_any_more(client, job, stores):
    end(stores, job)
    client.get(f"/jobs/{job}/events", headers=STREAM)

    streams = client.app.state.streams
    while not streams._asking.done():
        time.sleep(0.01)
    assert streams._channels == {}


def test_a_last_event_id_that_is_none_is_refused(client, job, assert_problem):
    response = client.get(f"/jobs/{job}/events", headers=STREAM | {"Last-Event-ID": "x"})

    assert_problem(response, 422, field="Last-Event-ID")


def test_the_log_is_all_of_them_as_text(client, job, stores, monkeypatch):
    monkeypatch.setattr(events, "_LOG_PAGE", 2)
    stores.events.append(job, "trial", "stopped", level="warning", data={"trial": 3, "é": "é"})

    answer = client.get(f"/jobs/{job}/log")

    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    lines = answer.text.splitlines()
    told = [line.split(" ", 1)[1] for line in lines if line[:1] == "2"]
    assert told[1:] == [
        "INFO    trial: trial 0",
        "INFO    trial: trial 1",
        "INFO    trial: trial 2",
        "WARNING trial: stopped",
    ]
    assert json.loads(lines[-1]) == {"trial": 3, "é": "é"}


def test_a_job_that_is_not_there_has_no_log(client, assert_problem):
    assert_problem(client.get("/jobs/nobody/log"), 404)
