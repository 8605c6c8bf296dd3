"""The Python client: the REST API as methods, JSON as it comes. Knows no terminal, no database."""

import hashlib
import io
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from email.message import Message
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx

from pareconv.service.client_errors import (
    ClientError,
    DamagedDownload,
    ProblemError,
    ServerUnreachable,
    is_passing,
)
from pareconv.storage.job_states import TERMINAL

Json = dict[str, Any]
OnBytes = Callable[[int], None]

_CONNECT_SECONDS = 10.0
# A submission waits for the inspection of the network and of the whole archive.
_CHECK_SECONDS = 900.0
# The server sends a comment every 15 s on an idle event stream.
_IDLE_SECONDS = 60.0
_RETRY_SECONDS = 1.0
# A proxy of the environment cannot reach this machine's own loopback.
_DIRECT: dict[str, httpx.BaseTransport | None] = {
    "all://localhost": None,
    "all://127.0.0.1": None,
    "all://[::1]": None,
}


class Client:
    """One server's API. Every call raises ProblemError or ServerUnreachable.

    `token` is what `pareconv token create` told, for a server that asks for one; whoever hears a
    request can use it, so send it over https or to this machine. `timeout` is in seconds, for one
    answer; the calls that wait for a check or move files take longer by themselves. Not for several
    threads at once.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        token: str | None = None,
        *,
        timeout: float = 30.0,
    ) -> None:
        self.url = url.rstrip("/")
        headers = {} if token is None else {"Authorization": f"Bearer {_printable(token)}"}
        limits = httpx.Timeout(timeout, connect=_CONNECT_SECONDS)
        try:
            self._http = httpx.Client(
                base_url=self.url, timeout=limits, headers=headers, mounts=_DIRECT
            )
        except httpx.InvalidURL as error:
            raise ServerUnreachable(url, str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def is_ready(self) -> bool:
        """Whether a server answers and its database and files work."""
        try:
            self._get("/readyz")
        except ClientError:
            return False
        return True

    def submit(
        self,
        spec: Json,
        *,
        model: Path | None = None,
        data: Path | None = None,
        idempotency_key: str | None = None,
        priority: int = 0,
    ) -> Json:
        """Create a job; `model` and `data` are files to send along with the spec."""
        path = f"/jobs?priority={priority}" if priority else "/jobs"
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        if model is None and data is None:
            return self._post(path, json=spec, headers=headers, timeout=_patient())
        parts: Json = {"spec": (None, json.dumps(spec), "application/json")}
        with ExitStack() as opened:
            for name, file in (("model", model), ("data", data)):
                if file is not None:
                    parts[name] = (file.name, opened.enter_context(file.open("rb")))
            return self._post(path, files=parts, headers=headers, timeout=_patient())

    def inspect(self, spec: Json) -> Json:
        """Blocks, options and reachable budgets, without a job."""
        return self._post("/inspect", json=spec, timeout=_patient())

    def job(self, job: str) -> Json:
        return self._get(_path("jobs", job))

    def jobs(
        self, *, limit: int | None = None, cursor: str | None = None, status: str | None = None
    ) -> Json:
        """One page of jobs, newest first: `{"items": [...], "next": cursor or None}`."""
        return self._get("/jobs", limit=limit, cursor=cursor, status=status)

    def front(self, job: str, *, objectives: str | None = None) -> Json:
        """The Pareto front so far; `objectives` is `accuracy,flops` or `accuracy,params`.

        The job's own by default.
        """
        return self._get(_path("jobs", job, "pareto"), objectives=objectives)

    def trials(self, job: str) -> list[Json]:
        """Every candidate, whatever became of it."""
        items: list[Json] = []
        cursor: str | None = None
        while True:
            page = self._get(_path("jobs", job, "trials"), cursor=cursor)
            items += page["items"]
            cursor = page["next"]
            if cursor is None:
                return items

    def events(self, job: str, *, after: int = 0) -> Json:
        """One page of events with a `seq` above `after`, oldest first."""
        return self._get(_path("jobs", job, "events"), after=after)

    def watch(self, job: str, *, after: int = 0, patience_seconds: float = 120.0) -> Iterator[Json]:
        """Events as they happen, each once, until the job has ended.

        A lost connection is taken up again where it broke off; ServerUnreachable is raised when
        that has not worked for `patience_seconds`.
        """
        self.job(job)
        last, lost_at = after, None
        while True:
            try:
                for event in self._stream_events(job, last):
                    last, lost_at = event["seq"], None
                    yield event
                if self.job(job)["status"] in TERMINAL:
                    yield from self._remaining(job, last)
                    return
                lost_at = None
            except ClientError as error:
                lost_at = lost_at or time.monotonic()
                if not is_passing(error) or time.monotonic() - lost_at > patience_seconds:
                    raise
            time.sleep(_RETRY_SECONDS)

    def cancel(self, job: str) -> Json:
        return self._post(_path("jobs", job, "cancel"))

    def pause(self, job: str) -> Json:
        return self._post(_path("jobs", job, "pause"))

    def prioritize(self, job: str, priority: int) -> Json:
        """Give a queued job another priority."""
        answer = self._request("PATCH", _path("jobs", job), json={"priority": priority})
        changed: Json = answer.json()
        return changed

    def resume(self, job: str) -> Json:
        return self._post(_path("jobs", job, "resume"))

    def extend(self, job: str, trials: int, *, time_limit_s: float | None = None) -> Json:
        """Have a job that has succeeded try so many more plans."""
        asked = _given({"trials": trials, "time_limit_s": time_limit_s})
        return self._post(_path("jobs", job, "extend"), json=asked)

    def finish(
        self,
        job: str,
        trial: int,
        *,
        epochs: float | None = None,
        formats: Sequence[str] | None = None,
    ) -> Json:
        """Have one more trial finished; the answer is its job, which `watch` follows."""
        asked: Json = {"trial": trial, **_given({"epochs": epochs})}
        if formats is not None:
            asked["formats"] = list(formats)
        return self._post(_path("jobs", job, "students"), json=asked)

    def students(self, job: str) -> list[Json]:
        """Every trial that was finished, on the front or not, with its files."""
        items: list[Json] = self._get(_path("jobs", job, "students"))["items"]
        return items

    def delete(self, job: str) -> None:
        self._request("DELETE", _path("jobs", job))

    def libraries(self, *, limit: int | None = None, cursor: str | None = None) -> Json:
        """One page of libraries, newest first."""
        return self._get("/libraries", limit=limit, cursor=cursor)

    def library(self, library: str) -> Json:
        """A library with its `entries`, one for each option of each block."""
        return self._get(_path("libraries", library))

    def library_front(
        self,
        library: str,
        *,
        flops: float | str | None = None,
        params: float | str | None = None,
    ) -> Json:
        """The front that a library predicts, within shares (0.4, "40%") or absolute limits."""
        query = _given({"flops": flops, "params": params})
        # The server's first answer waits for the process that solves it.
        path = _path("libraries", library, "front")
        answer: Json = self._request("GET", path, params=query, timeout=_patient()).json()
        return answer

    def bundle(self, spec: Json, path: Path) -> Path:
        """Save what a job of this spec would have timed, to be timed on another device."""
        limits = _patient()
        with self._stream("/latencies/bundles", "POST", json=spec, timeout=limits) as response:
            partial = path.with_name(f"{path.name}.part")
            try:
                _save(response, partial)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        return path

    def add_latencies(self, table: Json) -> Json:
        """Keep what was measured on a device; the answer's `reference` names it in a spec."""
        return self._post("/latencies", json=table)

    def latencies(self, *, limit: int | None = None, cursor: str | None = None) -> Json:
        """One page of latency tables, newest first."""
        return self._get("/latencies", limit=limit, cursor=cursor)

    def delete_library(self, library: str) -> None:
        self._request("DELETE", _path("libraries", library))

    def upload_teacher(self, path: Path, *, on_bytes: OnBytes | None = None) -> Json:
        """Store a weights file; `on_bytes` hears of every piece sent. The answer has its `id`."""
        return self._upload("/teachers", path, on_bytes)

    def upload_dataset(self, path: Path, *, on_bytes: OnBytes | None = None) -> Json:
        """Store an archive of images; `on_bytes` hears of every piece sent."""
        return self._upload("/datasets", path, on_bytes)

    def download(self, job: str, trial: int, format: str, directory: Path) -> Path:
        """Save a student's file under the server's name for it, or raise DamagedDownload."""
        with self._stream(_path("jobs", job, "students", str(trial), format)) as response:
            path = directory / (_filename(response) or f"student-{trial}.{format}")
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f"{path.name}.part")
            try:
                found = _save(response, partial)
                expected = _hash(response)
                if found != expected:
                    raise DamagedDownload(path.name, expected=expected, found=found)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        return path

    def architectures(self, search: str | None = None) -> list[Json]:
        return self._items("/architectures", search=search)

    def operators(self) -> list[Json]:
        return self._items("/operators")

    def methods(self) -> list[Json]:
        return self._items("/methods")

    def _items(self, path: str, **query: str | None) -> list[Json]:
        # The server's first answer waits for the process that knows the networks.
        answer = self._request("GET", path, params=_given(query), timeout=_patient())
        items: list[Json] = answer.json()["items"]
        return items

    def _get(self, path: str, **query: str | int | None) -> Json:
        answer: Json = self._request("GET", path, params=_given(query)).json()
        return answer

    def _post(self, path: str, **options: Any) -> Json:
        answer: Json = self._request("POST", path, **options).json()
        return answer

    def _upload(self, path: str, source: Path, on_bytes: OnBytes | None) -> Json:
        with _CountedFile(source, on_bytes) as file:
            return self._post(path, files={"file": (source.name, file)}, timeout=_patient())

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise ServerUnreachable(self.url, str(error)) from error
        return _accepted(response)

    @contextmanager
    def _stream(self, path: str, method: str = "GET", **options: Any) -> Iterator[httpx.Response]:
        try:
            with self._http.stream(method, path, **options) as response:
                if not response.is_success:
                    response.read()
                yield _accepted(response)
        except httpx.TransportError as error:
            raise ServerUnreachable(self.url, str(error)) from error

    def _stream_events(self, job: str, last: int) -> Iterator[Json]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last)}
        limits = httpx.Timeout(_IDLE_SECONDS, connect=_CONNECT_SECONDS)
        path = _path("jobs", job, "events")
        with self._stream(path, headers=headers, timeout=limits) as response:
            for data in _event_data(_lines(response.iter_text())):
                yield json.loads(data)

    def _remaining(self, job: str, last: int) -> Iterator[Json]:
        """Events that came between the end of the stream and the end of the job."""
        while items := self.events(job, after=last)["items"]:
            yield from items
            last = items[-1]["seq"]


class _CountedFile(io.FileIO):
    """A file for reading that tells how much was read."""

    def __init__(self, path: Path, on_bytes: OnBytes | None) -> None:
        super().__init__(path, "rb")
        self._on_bytes = on_bytes

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size) or b""
        if self._on_bytes is not None:
            self._on_bytes(len(data))
        return data


def _patient() -> httpx.Timeout:
    return httpx.Timeout(_CHECK_SECONDS, connect=_CONNECT_SECONDS)


def _printable(token: str) -> str:
    """ValueError, which does not repeat it, for what cannot stand in a header."""
    if not (token.isascii() and token.isprintable() and token):
        raise ValueError("the token holds characters that none has; copy it whole, on one line")
    return token


def _given(query: Mapping[str, str | float | None]) -> dict[str, str | float]:
    return {name: value for name, value in query.items() if value is not None}


def _path(*parts: str) -> str:
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _accepted(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"detail": response.text[:500]}
    raise ProblemError(
        response.status_code,
        problem.get("title") or response.reason_phrase,
        str(problem.get("detail") or ""),
        problem.get("errors") or [],
    )


def _save(response: httpx.Response, path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for chunk in response.iter_bytes():
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _hash(response: httpx.Response) -> str | None:
    tag: str | None = response.headers.get("etag")
    return None if tag is None else tag.removeprefix("W/").strip('"')


def _filename(response: httpx.Response) -> str | None:
    """The last part alone of the name that the server gives: it must not lead elsewhere."""
    message = Message()
    message["content-disposition"] = response.headers.get("content-disposition", "attachment")
    name = Path(message.get_filename() or "").name
    return name if name.strip(".") else None


def _lines(texts: Iterable[str]) -> Iterator[str]:
    # Not `iter_lines`: it also splits at characters such as U+2028 that JSON may hold.
    rest = ""
    for text in texts:
        *whole, rest = (rest + text).split("\n")
        for line in whole:
            yield line.removesuffix("\r")


def _event_data(lines: Iterable[str]) -> Iterator[str]:
    """The data of each server-sent event; an event cut short by the stream's end is none."""
    data: list[str] = []
    for line in lines:
        if line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []
