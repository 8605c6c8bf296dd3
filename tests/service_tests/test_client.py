"""The Python client, against the real app, and against a server that misbehaves."""

import hashlib
import io
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pareconv.search.errors import InvalidSpec
from pareconv.service.client import Client
from pareconv.service.client_errors import DamagedDownload, ProblemError, ServerUnreachable
from pareconv.storage.jobs import JobStatus

CONTENT = b"the student" * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def pareconv(client) -> Iterator[Client]:
    with Client(str(client.base_url)) as each:
        yield each


@pytest.fixture
def job(pareconv, spec) -> str:
    return pareconv.submit(spec)["id"]


@pytest.fixture
def stub() -> Iterator[Callable[..., str]]:
    """Start a server whose GET is the given function of the handler; gives its URL."""
    with ExitStack() as stack:

        def start(answer: Callable[[BaseHTTPRequestHandler], None]) -> str:
            methods = {"do_GET": answer, "log_message": lambda *_: None}
            handler = type("Handler", (BaseHTTPRequestHandler,), methods)
            server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
            stack.callback(server.server_close)
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}"

        yield start


def answer(handler, content: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in ({"content_length": str(len(content))} | headers).items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(content)


def unused_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_a_job_is_submitted_listed_cancelled_resumed_and_deleted(pareconv, spec):
    job = pareconv.submit(spec)["id"]

    assert pareconv.job(job)["status"] == "queued"
    assert [each["id"] for each in pareconv.jobs(status="queued")["items"]] == [job]
    assert pareconv.cancel(job)["status"] == "cancelled"
    assert pareconv.resume(job)["status"] == "queued"
    pareconv.delete(job)
    assert pareconv.jobs()["items"] == []


def test_more_is_asked_of_a_job(pareconv, job, stores):
    known = {"loss": 0.3, "seconds": 1.5, "images": 80, "compute": 90.0, "rungs": []}
    known |= {"accuracy": 0.5, "accuracy_stderr": 0.01, "checkpoint": "c" * 64}
    for number in range(2):
        stores.candidates.create(job, {}, flops=1, adds=0, params=1)
        stores.candidates.complete(job, number, **known)
    stores.jobs.claim("w", 60)
    stores.jobs.succeed(job, owner="w")

    assert pareconv.finish(job, 1, epochs=2, formats=("onnx",))["status"] == "queued"
    (wanted,) = stores.candidates.wanted(job)
    assert (wanted.number, wanted.wanted) == (1, {"epochs": 2.0, "formats": ["onnx"]})
    assert pareconv.students(job) == []
    stores.candidates.finish(job, 1, finish_accuracy=0.6, test_accuracy=0.6, compute=1.0)
    assert [each["trial"] for each in pareconv.students(job)] == [1]
    stores.jobs.claim("w", 60)
    stores.jobs.succeed(job, owner="w")
    extension = pareconv.extend(job, 40, time_limit_s=5)["extension"]
    assert extension == {"trials": 40, "time_limit_s": 5.0, "after": 2}


def test_jobs_come_in_pages(pareconv, spec):
    ids = [pareconv.submit(spec)["id"] for _ in range(3)]

    first = pareconv.jobs(limit=2)
    second = pareconv.jobs(limit=2, cursor=first["next"])

    assert [each["id"] for each in first["items"] + second["items"]] == ids[::-1]
    assert second["next"] is None


def test_files_go_along_with_a_submission(pareconv, spec, runner, tmp_path):
    model, data = tmp_path / "net.pt", tmp_path / "images.zip"
    model.write_bytes(b"weights")
    data.write_bytes(b"images")
    spec["dataset"] = {}

    found = pareconv.submit(spec, model=model, data=data)["spec"]

    assert found["teacher"]["weights"].startswith("teacher:")
    assert found["dataset"]["source"].startswith("dataset:")
    assert runner.tasks() == ["check_teacher", "check_dataset", "inspect"]


def test_the_same_key_gives_the_same_job(pareconv, spec):
    first = pareconv.submit(spec, idempotency_key="mine")
    second = pareconv.submit(spec, idempotency_key="mine")

    assert first["id"] == second["id"]


def test_a_refused_spec_names_its_field(pareconv, spec):
    spec["search"] = {"trials": 0}

    with pytest.raises(ProblemError) as caught:
        pareconv.submit(spec)

    assert caught.value.status == 422
    assert [each["field"] for each in caught.value.errors] == ["search.trials"]
    assert "search.trials" in str(caught.value)


def test_an_id_cannot_lead_to_another_route(pareconv):
    with pytest.raises(ProblemError) as caught:
        pareconv.job("../healthz")

    assert caught.value.status == 404


def test_an_error_that_is_no_problem_is_one_too(stub):
    url = stub(lambda handler: answer(handler, b"<html>proxy</html>", 502))

    with Client(url) as client, pytest.raises(ProblemError) as caught:
        client.job("x")

    assert (caught.value.status, caught.value.title) == (502, "Bad Gateway")


@pytest.mark.parametrize(
    "url", [unused_url(), "not-a-url", "http://[::1"], ids=["nobody", "no URL", "half a host"]
)
def test_no_server_is_told_with_the_remedy(url):
    with pytest.raises(ServerUnreachable, match="pareconv serve") as caught, Client(url) as client:
        client.job("x")

    assert caught.value.url == url


def test_readiness_is_asked_without_an_error(pareconv):
    assert pareconv.is_ready()
    with Client(unused_url()) as nobody:
        assert not nobody.is_ready()


def test_uploads_tell_how_far_they_are(pareconv, tmp_path):
    path = tmp_path / "net.pt"
    path.write_bytes(CONTENT)
    sent: list[int] = []

    teacher = pareconv.upload_teacher(path, on_bytes=sent.append)
    dataset = pareconv.upload_dataset(path)

    assert (teacher["sha256"], dataset["sha256"]) == (SHA256, SHA256)
    assert teacher["filename"] == "net.pt"
    assert sum(sent) == len(CONTENT)


def test_a_refused_upload_is_a_problem(pareconv, runner, tmp_path):
    runner.answers["check_dataset"] = InvalidSpec("dataset.source", "is no zip; give one")
    path = tmp_path / "x.zip"
    path.write_bytes(b"x")

    with pytest.raises(ProblemError, match="is no zip"):
        pareconv.upload_dataset(path)


def test_inspection_and_catalog(pareconv, spec):
    assert pareconv.inspect(spec)["blocks"][0]["name"] == "layer1.0"
    assert [each["name"] for each in pareconv.architectures()] == ["cifar_resnet8", "vgg11"]
    assert [each["name"] for each in pareconv.architectures(search="vgg")] == ["vgg11"]
    assert [each["name"] for each in pareconv.operators()] == ["svd"]
    assert [each["name"] for each in pareconv.methods()] == ["kd"]


def test_libraries_are_listed_shown_asked_and_deleted(pareconv, library, runner):
    assert [each["id"] for each in pareconv.libraries()["items"]] == [library.id]
    assert len(pareconv.library(library.id)["entries"]) == 3
    assert pareconv.library_front(library.id, flops="40%", params=50)["budget"] == {
        "flops": 400,
        "params": 50,
    }
    pareconv.delete_library(library.id)
    assert pareconv.libraries(limit=5)["items"] == []


def test_trials_of_every_page(pareconv, job, stores):
    for number in range(120):
        stores.candidates.create(job, {"layer": f"svd(ratio={number})"}, flops=1, adds=0, params=1)

    assert [each["trial"] for each in pareconv.trials(job)] == list(range(120))


def test_the_front_over_either_cost(pareconv, job):
    assert pareconv.front(job)["objectives"] == ["accuracy", "flops"]
    by_params = pareconv.front(job, objectives="accuracy,params")
    assert by_params["objectives"] == ["accuracy", "params"]


def test_events_after_one_that_is_known(pareconv, job, stores):
    first = stores.events.append(job, "test", "one")
    stores.events.append(job, "test", "two")

    items = pareconv.events(job, after=first.seq)["items"]

    assert [each["message"] for each in items] == ["two"]


def test_watching_ends_with_the_job_and_sees_every_event_once(pareconv, job, stores):
    def work() -> None:
        stores.jobs.claim("worker", 60)
        for number in range(3):
            stores.events.append(job, "test", f"event {number}")
        stores.jobs.transition(job, JobStatus.SUCCEEDED, owner="worker")

    watched = (each for each in pareconv.watch(job) if each["type"] == "test")
    stores.events.append(job, "test", "before")
    messages = [next(watched)["message"]]
    thread = threading.Thread(target=work)
    thread.start()
    messages += [each["message"] for each in watched]
    thread.join()

    assert messages == ["before", "event 0", "event 1", "event 2"]


def test_watching_an_ended_job_from_its_last_event_ends_at_once(pareconv, job, stores):
    last = stores.events.append(job, "test", "the last")
    pareconv.cancel(job)
    seen = list(pareconv.watch(job, after=last.seq - 1))
    assert seen[0]["message"] == "the last"

    assert list(pareconv.watch(job, after=seen[-1]["seq"])) == []


def test_watching_goes_on_where_the_connection_broke(stub):
    # A line separator in a message is no end of a line.
    events = [
        b'id: %d\ndata: {"seq": %d, "message": "a\xe2\x80\xa8b"}\n\n' % (i, i) for i in (7, 8)
    ]
    asked: list[str] = []

    def serve(handler) -> None:
        if handler.headers["accept"] == "text/event-stream":
            asked.append(handler.headers["last-event-id"])
            if len(asked) == 1:  # breaks off in the middle of its second event
                body = b": ping\n\n" + events[0] + events[1][:12]
                return answer(handler, body, content_length="10000")
            return answer(handler, b"{}", 503) if len(asked) == 2 else answer(handler, events[1])
        if "/events" in handler.path:
            return answer(handler, b'{"items": [], "next": null}')
        return answer(
            handler, b'{"status": "%s"}' % (b"succeeded" if len(asked) == 3 else b"running")
        )

    with Client(stub(serve)) as client:
        seen = list(client.watch("x"))

    assert [(each["seq"], each["message"]) for each in seen] == [(7, "a\u2028b"), (8, "a\u2028b")]
    assert asked == ["0", "7", "7"]


def test_watching_gives_up_when_its_patience_is_over(stub):
    def serve(handler) -> None:
        if "/events" in handler.path:
            return answer(handler, b"{}", 503)
        return answer(handler, b'{"status": "running"}')

    with Client(stub(serve)) as client, pytest.raises(ProblemError):
        list(client.watch("x", patience_seconds=0.0))


def test_watching_nobody_or_nothing_fails_at_once(pareconv):
    with pytest.raises(ProblemError):
        next(pareconv.watch("no-such-job"))
    with Client(unused_url()) as nobody, pytest.raises(ServerUnreachable):
        next(nobody.watch("x"))


def test_a_student_is_saved_under_its_name(pareconv, job, stores, tmp_path):
    stores.candidates.create(job, {}, flops=1, adds=0, params=1)
    stores.files.put_stream(io.BytesIO(CONTENT))
    made = {"sha256": SHA256, "size_bytes": len(CONTENT), "filename": "small.onnx"}
    stores.artifacts.put(job, 0, format="onnx", **made)

    path = pareconv.download(job, 0, "onnx", tmp_path / "new")

    assert path == tmp_path / "new" / "small.onnx"
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_a_report_is_saved_like_any_other_file(pareconv, job, stores, tmp_path):
    stores.candidates.create(job, {}, flops=1, adds=0, params=1)
    stores.files.put_stream(io.BytesIO(CONTENT))
    made = {"sha256": SHA256, "size_bytes": len(CONTENT), "filename": "x-0.html"}
    stores.artifacts.put(job, 0, format="report", **made)

    path = pareconv.download(job, 0, "report", tmp_path)

    assert (path, path.read_bytes()) == (tmp_path / "x-0.html", CONTENT)


def test_a_damaged_download_is_not_kept(stub, tmp_path):
    url = stub(lambda handler: answer(handler, b"other bytes", etag=f'"{SHA256}"'))

    with Client(url) as client, pytest.raises(DamagedDownload, match=SHA256):
        client.download("x", 1, "onnx", tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_former_download_survives_a_damaged_one(stub, tmp_path):
    former = tmp_path / "student-1.onnx"
    former.write_bytes(CONTENT)
    url = stub(lambda handler: answer(handler, b"other bytes", etag=f'"{SHA256}"'))

    with Client(url) as client, pytest.raises(DamagedDownload):
        client.download("x", 1, "onnx", tmp_path)

    assert former.read_bytes() == CONTENT


def test_a_download_that_breaks_off_leaves_nothing(stub, tmp_path):
    url = stub(lambda handler: answer(handler, CONTENT[:100], content_length="200"))

    with Client(url) as client, pytest.raises(ServerUnreachable):
        client.download("x", 1, "onnx", tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sent", "saved"),
    [("../../evil.onnx", "evil.onnx"), ("/etc/passwd", "passwd"), ("..", "student-1.onnx")],
)
def test_a_name_cannot_lead_out_of_the_folder(stub, tmp_path, sent, saved):
    headers = {"etag": f'"{SHA256}"', "content_disposition": f'attachment; filename="{sent}"'}
    url = stub(lambda handler: answer(handler, CONTENT, **headers))

    with Client(url) as client:
        path = client.download("x", 1, "onnx", tmp_path / "here")

    assert path == tmp_path / "here" / saved
