"""The Python client, against the real app, and against a server that misbehaves."""

import hashlib
import io
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pareconv.search.errors import InvalidSpec
from pareconv.search.spec import JobSpec
from pareconv.service.client import Client
from pareconv.service.remote import connection as connections
from pareconv.service.remote import job as jobs
from pareconv.service.remote.connection import Connection
from pareconv.service.remote.errors import (
    DamagedDownload,
    InvalidId,
    JobEnded,
    NoSuchFile,
    ProblemError,
    ServerUnreachable,
    UnknownAnswer,
)
from pareconv.service.remote.front import Front
from pareconv.service.remote.job import Job
from pareconv.service.views.event import EventView
from pareconv.service.views.front import ParetoView
from pareconv.service.views.job import ExtensionView
from pareconv.storage.jobs import JobStatus

FRONT = ParetoView.model_config["json_schema_extra"]["example"]
CONTENT = b"the student" * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def pareconv(client) -> Iterator[Client]:
    with Client(str(client.base_url)) as each:
        yield each


@pytest.fixture
def job(pareconv, spec) -> Job:
    return pareconv.jobs.create(spec)


@pytest.fixture
def impatient(monkeypatch) -> None:
    monkeypatch.setattr(jobs, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(connections, "_RETRY_SECONDS", (0.01, 0.01))


@pytest.fixture
def stub() -> Iterator[Callable[..., str]]:
    """Start a server whose GET and POST is the given function of the handler; gives its URL."""
    with ExitStack() as stack:

        def start(answer: Callable[[BaseHTTPRequestHandler], None]) -> str:
            methods = {"do_GET": answer, "do_POST": answer, "log_message": lambda *_: None}
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


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    connection = Connection(url, None, timeout=10)
    yield connection
    connection.close()


def finish(stores, job: Job) -> None:
    """Trial 0 of the job is finished."""
    known = {"loss": 0.3, "seconds": 1.5, "images": 80, "compute": 90.0, "rungs": []}
    known |= {"accuracy": 0.5, "accuracy_stderr": 0.01, "checkpoint": "c" * 64}
    stores.candidates.create(job.id, {"layer": "shift"}, flops=1, adds=0, params=1)
    stores.candidates.complete(job.id, 0, **known)
    stores.candidates.finish(job.id, 0, finish_accuracy=0.6, test_accuracy=0.6, compute=1.0)


def unused_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_server_and_token_are_those_of_the_environment(client, monkeypatch):
    monkeypatch.setenv("PARECONV_SERVER", str(client.base_url))
    monkeypatch.setenv("PARECONV_TOKEN", "a\ntoken")
    with pytest.raises(ValueError, match="copy it whole"):
        Client()
    monkeypatch.setenv("PARECONV_TOKEN", "")
    with Client() as pareconv:
        assert pareconv.is_ready()
    monkeypatch.setenv("PARECONV_TOKEN", "a\ntoken")
    with Client("http://127.0.0.1:9") as other:  # whom that token is none of
        assert other.url == "http://127.0.0.1:9"


def test_a_job_is_submitted_listed_cancelled_resumed_and_deleted(pareconv, spec):
    job = pareconv.jobs.create(spec)

    assert pareconv.jobs.get(job.id).status is JobStatus.QUEUED
    assert [each.id for each in pareconv.jobs.list(status="queued")] == [job.id]
    assert job.cancel().status == "cancelled"
    assert job.resume().status == "queued"
    job.delete()
    assert pareconv.jobs.page().items == []


def test_a_spec_may_be_a_model(pareconv, spec):
    told = pareconv.jobs.create(JobSpec.model_validate(spec)).spec

    assert told == pareconv.jobs.create(spec).spec


def test_more_is_asked_of_a_job(pareconv, job, stores):
    known = {"loss": 0.3, "seconds": 1.5, "images": 80, "compute": 90.0, "rungs": []}
    known |= {"accuracy": 0.5, "accuracy_stderr": 0.01, "checkpoint": "c" * 64}
    for number in range(2):
        stores.candidates.create(job.id, {}, flops=1, adds=0, params=1)
        stores.candidates.complete(job.id, number, **known)
    stores.jobs.claim("w", 60)
    stores.jobs.succeed(job.id, owner="w")

    assert job.finish(1, epochs=2, formats=("onnx",)).status == "queued"
    (wanted,) = stores.candidates.wanted(job.id)
    assert (wanted.number, wanted.wanted) == (1, {"epochs": 2.0, "formats": ["onnx"]})
    assert job.students() == []
    stores.candidates.finish(job.id, 1, finish_accuracy=0.6, test_accuracy=0.6, compute=1.0)
    assert [each.trial for each in job.students()] == [1]
    stores.jobs.claim("w", 60)
    stores.jobs.succeed(job.id, owner="w")
    extension = job.extend(40, time_limit_s=5).extension
    assert extension == ExtensionView(trials=40, time_limit_s=5.0, after=2)


def test_jobs_come_in_pages(pareconv, spec):
    ids = [pareconv.jobs.create(spec).id for _ in range(3)]

    first = pareconv.jobs.page(limit=2)
    second = pareconv.jobs.page(limit=2, cursor=first.next)

    assert [each.id for each in first.items + second.items] == ids[::-1]
    assert second.next is None


def test_files_go_along_with_a_submission(pareconv, spec, runner, tmp_path):
    model, data = tmp_path / "net.pt", tmp_path / "images.zip"
    model.write_bytes(b"weights")
    data.write_bytes(b"images")
    spec["dataset"] = {}

    found = pareconv.jobs.create(spec, model=model, data=data).spec

    assert found["teacher"]["weights"].startswith("teacher:")
    assert found["dataset"]["source"].startswith("dataset:")
    assert runner.tasks() == ["check_teacher", "check_dataset", "inspect"]


def test_files_go_along_with_an_inspection(pareconv, spec, runner, tmp_path):
    model = tmp_path / "net.pt"
    model.write_bytes(b"weights")

    assert pareconv.inspect(spec, model=model).image_size == 32
    assert runner.tasks() == ["check_teacher", "inspect"]
    assert runner.calls[-1][1]["spec"]["teacher"]["weights"].startswith("teacher:")


def test_the_same_key_gives_the_same_job(pareconv, spec):
    first = pareconv.jobs.create(spec, idempotency_key="mine")
    second = pareconv.jobs.create(spec, idempotency_key="mine")

    assert first.id == second.id
    assert pareconv.jobs.create(spec).id != first.id


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", ["breaks off", "a proxy's error"])
def test_a_submission_whose_answer_is_lost_is_asked_again_by_its_key(
    client, stub, spec, job, fault
):
    made = client.get(f"/jobs/{job.id}").content
    keys: list[str] = []

    def serve(handler) -> None:
        handler.rfile.read(int(handler.headers["content-length"]))
        keys.append(handler.headers["idempotency-key"])
        if len(keys) == 2:
            return answer(handler, made, 201)
        if fault == "breaks off":
            return answer(handler, made[:10], 201, content_length="1000")
        return answer(handler, b"<html>", 502)

    with Client(stub(serve)) as lost:
        assert lost.jobs.create(spec).id == job.id

    assert len(keys) == 2
    assert keys[0] == keys[1] != ""


def test_files_are_sent_whole_when_they_are_sent_again(
    stub, client, spec, job, impatient, tmp_path
):
    made = client.get(f"/jobs/{job.id}").content
    model = tmp_path / "net.pt"
    model.write_bytes(CONTENT)
    bodies: list[bytes] = []

    def serve(handler) -> None:
        bodies.append(handler.rfile.read(int(handler.headers["content-length"])))
        answer(handler, made, 503 if len(bodies) == 1 else 201)

    with Client(stub(serve)) as lost:
        lost.jobs.create(spec, model=model)

    assert [CONTENT in body for body in bodies] == [True, True]


def test_a_submission_is_given_up_after_some_tries(stub, spec, impatient):
    asked: list[str] = []

    def serve(handler) -> None:
        handler.rfile.read(int(handler.headers["content-length"]))
        asked.append(handler.path)
        answer(handler, b"{}", 503)

    with Client(stub(serve)) as client, pytest.raises(ProblemError):
        client.jobs.create(spec)

    assert len(asked) == 3


def test_a_check_that_took_too_long_is_not_asked_for_again(stub, spec, impatient):
    asked: list[str] = []

    def serve(handler) -> None:
        handler.rfile.read(int(handler.headers["content-length"]))
        asked.append(handler.path)
        answer(handler, b"{}", 504)

    with Client(stub(serve)) as client, pytest.raises(ProblemError):
        client.jobs.create(spec)

    assert len(asked) == 1


@pytest.mark.parametrize("url", [unused_url(), "not-a-url"], ids=["nobody", "no URL"])
def test_a_server_that_is_not_there_is_asked_once(url, spec, monkeypatch):
    monkeypatch.setattr(connections, "_RETRY_SECONDS", (60,))

    with Client(url) as client, pytest.raises(ServerUnreachable):
        client.jobs.create(spec)


@pytest.mark.parametrize("body", [b"<html>a router</html>", b"[]", b'{"id": "x"}'])
@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.jobs.get("x"),
        lambda client: client.jobs.page(),
        lambda client: client.operators(),
        lambda client: client.libraries.page(),
    ],
    ids=["job", "jobs", "operators", "libraries"],
)
def test_another_server_s_answer_is_told(stub, body, ask):
    url = stub(lambda handler: answer(handler, body))

    with Client(url) as client, pytest.raises(UnknownAnswer, match="is that a Pareconv server"):
        ask(client)


@pytest.mark.parametrize("id", ["", ".", ".."])
def test_what_can_be_no_id_is_refused_here(pareconv, id):
    with pytest.raises(InvalidId, match="is no id"):
        pareconv.libraries.delete(id)


def test_a_refused_spec_names_its_field(pareconv, spec):
    spec["search"] = {"trials": 0}

    with pytest.raises(ProblemError) as caught:
        pareconv.jobs.create(spec)

    assert caught.value.status == 422
    assert [each["field"] for each in caught.value.errors] == ["search.trials"]
    assert "search.trials" in str(caught.value)


def test_an_id_cannot_lead_to_another_route(pareconv):
    with pytest.raises(ProblemError) as caught:
        pareconv.jobs.get("../healthz")

    assert caught.value.status == 404


def test_an_error_that_is_no_problem_is_one_too(stub):
    url = stub(lambda handler: answer(handler, b"<html>proxy</html>", 502))

    with Client(url) as client, pytest.raises(ProblemError) as caught:
        client.jobs.get("x")

    assert (caught.value.status, caught.value.title) == (502, "Bad Gateway")


@pytest.mark.parametrize(
    "url", [unused_url(), "not-a-url", "http://[::1"], ids=["nobody", "no URL", "half a host"]
)
def test_no_server_is_told_with_the_remedy(url):
    with pytest.raises(ServerUnreachable, match="pareconv serve") as caught, Client(url) as client:
        client.jobs.get("x")

    assert caught.value.url == url


def test_readiness_is_asked_without_an_error(pareconv):
    assert pareconv.is_ready()
    with Client(unused_url()) as nobody:
        assert not nobody.is_ready()


def test_uploads_tell_how_far_they_are(pareconv, tmp_path):
    path = tmp_path / "net.pt"
    path.write_bytes(CONTENT)
    sent: list[int] = []

    teacher = pareconv.teachers.upload(path, on_bytes=sent.append)
    dataset = pareconv.datasets.upload(path)

    assert (teacher.sha256, dataset.sha256) == (SHA256, SHA256)
    assert teacher.filename == "net.pt"
    assert sum(sent) == len(CONTENT)


def test_a_refused_upload_is_a_problem(pareconv, runner, tmp_path):
    runner.answers["check_dataset"] = InvalidSpec("dataset.source", "is no zip; give one")
    path = tmp_path / "x.zip"
    path.write_bytes(b"x")

    with pytest.raises(ProblemError, match="is no zip"):
        pareconv.datasets.upload(path)


def test_inspection_and_catalog(pareconv, spec):
    assert pareconv.inspect(spec).blocks[0].name == "layer1.0"
    assert [each.name for each in pareconv.architectures()] == ["cifar_resnet8", "vgg11"]
    assert [each.name for each in pareconv.architectures(search="vgg")] == ["vgg11"]
    assert [each.name for each in pareconv.operators()] == ["svd"]
    assert [each.name for each in pareconv.methods()] == ["kd"]


def test_libraries_are_listed_shown_asked_and_deleted(pareconv, library, runner):
    assert [each.id for each in pareconv.libraries.page().items] == [library.id]
    assert len(pareconv.libraries.get(library.id).entries) == 3
    budget = pareconv.libraries.front(library.id, flops="40%", params=50).budget
    assert (budget.flops, budget.params) == (400, 50)
    pareconv.libraries.delete(library.id)
    assert pareconv.libraries.page(limit=5).items == []


def test_trials_of_every_page(pareconv, job, stores):
    for number in range(120):
        stores.candidates.create(
            job.id, {"layer": f"svd(ratio={number})"}, flops=1, adds=0, params=1
        )

    assert [each.trial for each in job.trials()] == list(range(120))


def test_the_front_over_either_cost(pareconv, job):
    assert job.front().objectives == ["accuracy", "flops"]
    assert job.front(objectives="accuracy,params").objectives == ["accuracy", "params"]


def test_the_front_is_a_pandas_frame(job, stores):
    finish(stores, job)

    frame = job.front().to_pandas()

    assert list(frame.index) == [0]
    assert frame.loc[0, "accuracy"] == 0.5
    assert frame.loc[0, "plan"] == {"layer": "shift"}
    assert Front.model_validate(FRONT).to_pandas()["flops_ratio"].tolist() == [0.496]


@pytest.mark.parametrize(
    ("objectives", "costs", "limit"),
    [(["accuracy", "flops"], 20301000, 20463936), (["accuracy", "params"], 151000, None),
     (["accuracy", "latency"], None, None)],
)  # fmt: skip
def test_the_front_is_a_chart(objectives, costs, limit):
    figure = Front.model_validate(FRONT | {"objectives": objectives}).plot()

    drawn = {trace.name: trace for trace in figure.data}
    assert list(drawn) == ["front", "finished", "teacher"]
    assert drawn["front"].x == (costs,)
    assert drawn["front"].y == (0.929,)
    assert drawn["finished"].y == (0.934,)
    assert [line.x0 for line in figure.layout.shapes] == ([] if limit is None else [limit])
    assert "trial 7" in drawn["front"].text[0]


def test_an_empty_front_is_a_table_and_a_chart_too(job):
    assert job.front().to_pandas().empty
    assert len(job.front().plot().data) == 1


def test_events_after_one_that_is_known(pareconv, job, stores):
    first = stores.events.append(job.id, "test", "one")
    stores.events.append(job.id, "test", "two")

    items = job.events(after=first.seq).items

    assert [each.message for each in items] == ["two"]


def test_watching_ends_with_the_job_and_sees_every_event_once(pareconv, job, stores):
    def work() -> None:
        stores.jobs.claim("worker", 60)
        for number in range(3):
            stores.events.append(job.id, "test", f"event {number}")
        stores.jobs.transition(job.id, JobStatus.SUCCEEDED, owner="worker")

    watched = (each for each in job.watch() if each.type == "test")
    stores.events.append(job.id, "test", "before")
    messages = [next(watched).message]
    thread = threading.Thread(target=work)
    thread.start()
    messages += [each.message for each in watched]
    thread.join()

    assert messages == ["before", "event 0", "event 1", "event 2"]


def test_watching_an_ended_job_from_its_last_event_ends_at_once(pareconv, job, stores):
    last = stores.events.append(job.id, "test", "the last")
    job.cancel()
    seen = list(job.watch(after=last.seq - 1))
    assert seen[0].message == "the last"

    assert list(job.watch(after=seen[-1].seq)) == []


def test_a_server_that_is_away_is_waited_for(client_of, settings, spec, impatient):
    client = client_of()
    with Client(str(client.base_url)) as pareconv:
        job = pareconv.jobs.create(spec)
        moments = job.moments()
        next(moments)
        http = pareconv._connection._http
        address, http.base_url = http.base_url, "http://127.0.0.1:9"
        away = [next(moments) for _ in range(3)]
        http.base_url = address
        job.cancel()
        seen = list(moments)

    assert not any(moment.is_connected for moment in away[-2:])
    assert seen[-1].is_connected
    assert seen[-1].job.status == "cancelled"


def test_it_is_not_waited_for_without_an_end(client, pareconv, job, impatient):
    moments = job.moments(patience_seconds=0.0)
    next(moments)
    pareconv._connection._http.base_url = "http://127.0.0.1:9"

    with pytest.raises(ServerUnreachable):
        list(moments)


def test_waiting_gives_the_job_that_succeeded_and_tells_what_happens(job, stores, impatient):
    heard: list[str] = []

    def work(event: EventView) -> None:
        heard.append(event.message)
        if stores.jobs.get(job.id).status is JobStatus.QUEUED:
            stores.jobs.claim("worker", 60)
            stores.events.append(job.id, "test", "begun")
            stores.jobs.transition(job.id, JobStatus.SUCCEEDED, owner="worker")

    ended = job.wait(on_event=work)

    assert ended.status == "succeeded"
    assert "begun" in heard
    assert job.status == "queued"


def test_waiting_again_tells_what_is_new(pareconv, job, stores):
    stores.events.append(job.id, "test", "before")
    last = stores.events.last(job.id)
    stores.jobs.claim("worker", 60)
    stores.jobs.succeed(job.id, owner="worker")
    heard: list[str] = []

    job.wait(on_event=lambda event: heard.append(event.message), after=last)

    assert heard == ["job succeeded"]


def test_being_asked_less_often_is_waited_for(stub, client, job, impatient):
    shown, asked = client.get(f"/jobs/{job.id}").content, []

    def serve(handler) -> None:
        asked.append(handler.path)
        answer(handler, shown, 429 if len(asked) == 2 else 200)

    with Client(stub(serve)) as busy:
        moments = busy.jobs.get(job.id).moments()
        assert not next(moments).is_connected


def test_waiting_for_a_job_that_fails_raises_why(job, stores):
    stores.jobs.claim("w", 60)
    error = {"title": "near chance", "detail": "accuracy 0.1 of 10 classes"}
    stores.jobs.transition(job.id, JobStatus.FAILED, owner="w", error=error)

    with pytest.raises(JobEnded, match=r"accuracy 0\.1 of 10 classes.*pareconv resume") as caught:
        job.wait()

    assert caught.value.job.status == "failed"


def test_waiting_has_a_limit(job, stores, impatient):
    with pytest.raises(TimeoutError, match="it goes on"):
        job.wait(timeout=0.05)

    assert stores.jobs.get(job.id).status == "queued"


def test_watching_nothing_fails_at_once(pareconv, job):
    job.delete()

    with pytest.raises(ProblemError, match="no job"):
        next(job.watch())


def test_a_student_is_saved_under_its_name(pareconv, job, stores, tmp_path):
    finish(stores, job)
    stores.files.put_stream(io.BytesIO(CONTENT))
    made = {"sha256": SHA256, "size_bytes": len(CONTENT), "filename": "small.onnx"}
    stores.artifacts.put(job.id, 0, format="onnx", **made)

    [path] = job.download(tmp_path / "new", trial=0, format="onnx")

    assert path == tmp_path / "new" / "small.onnx"
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_a_report_is_saved_like_any_other_file(pareconv, job, stores, tmp_path):
    finish(stores, job)
    stores.files.put_stream(io.BytesIO(CONTENT))
    made = {"sha256": SHA256, "size_bytes": len(CONTENT), "filename": "x-0.html"}
    stores.artifacts.put(job.id, 0, format="report", **made)

    [path] = job.download(tmp_path, format="report")

    assert (path, path.read_bytes()) == (tmp_path / "x-0.html", CONTENT)


def test_a_file_that_is_not_there_is_told_with_those_that_are(job, stores, tmp_path):
    with pytest.raises(NoSuchFile, match="has no file yet"):
        job.download(tmp_path)
    finish(stores, job)
    stores.files.put_stream(io.BytesIO(CONTENT))
    made = {"sha256": SHA256, "size_bytes": len(CONTENT), "filename": "small.onnx"}
    stores.artifacts.put(job.id, 0, format="onnx", **made)

    with pytest.raises(NoSuchFile, match="it has: trial 0 onnx"):
        job.download(tmp_path, format="pt2")


def test_a_damaged_download_is_not_kept(stub, tmp_path):
    url = stub(lambda handler: answer(handler, b"other bytes", etag=f'"{SHA256}"'))

    with connected(url) as connection, pytest.raises(DamagedDownload, match=SHA256):
        connection.save("/x", tmp_path, name="student-1.onnx")

    assert list(tmp_path.iterdir()) == []


def test_a_former_download_survives_a_damaged_one(stub, tmp_path):
    former = tmp_path / "student-1.onnx"
    former.write_bytes(CONTENT)
    url = stub(lambda handler: answer(handler, b"other bytes", etag=f'"{SHA256}"'))

    with connected(url) as connection, pytest.raises(DamagedDownload):
        connection.save("/x", tmp_path, name="student-1.onnx")

    assert former.read_bytes() == CONTENT


def test_a_download_that_breaks_off_leaves_nothing(stub, tmp_path):
    url = stub(lambda handler: answer(handler, CONTENT[:100], content_length="200"))

    with connected(url) as connection, pytest.raises(ServerUnreachable):
        connection.save("/x", tmp_path, name="student-1.onnx")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sent", "saved"),
    [("../../evil.onnx", "evil.onnx"), ("/etc/passwd", "passwd"), ("..", "student-1.onnx")],
)
def test_a_name_cannot_lead_out_of_the_folder(stub, tmp_path, sent, saved):
    headers = {"etag": f'"{SHA256}"', "content_disposition": f'attachment; filename="{sent}"'}
    url = stub(lambda handler: answer(handler, CONTENT, **headers))

    with connected(url) as connection:
        path = connection.save("/x", tmp_path / "here", name="student-1.onnx")

    assert path == tmp_path / "here" / saved
