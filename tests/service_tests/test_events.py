"""A job's events over HTTP: pages, and a stream that can be taken up again."""

import json
import threading

import pytest

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
    events = []
    for block in response.text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        events.append((int(fields["id"]), json.loads(fields["data"])))
    return events


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
    assert [data["message"] for _, data in events][1:] == ["trial 0", "trial 1", "trial 2"]
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

    assert messages[-2:] == ["trial 2", "late"]


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

    assert events[-1][1]["message"] == "one\ntwo\r\nid: 7\n\nthree"


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


def test_a_last_event_id_that_is_none_is_refused(client, job, assert_problem):
    response = client.get(f"/jobs/{job}/events", headers=STREAM | {"Last-Event-ID": "x"})

    assert_problem(response, 422, field="Last-Event-ID")
