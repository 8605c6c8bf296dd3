"""The connection to one server: requests, problems, uploads and downloads. Knows no resource."""

import hashlib
import io
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from pareconv.service.remote.errors import (
    ClientError,
    DamagedDownload,
    InvalidId,
    ProblemError,
    ServerUnreachable,
    UnknownAnswer,
    is_passing,
)

M = TypeVar("M", bound=BaseModel)
OnBytes = Callable[[int], None]

_CONNECT_SECONDS = 10.0
# A submission waits for the inspection of the network and of the whole archive.
_CHECK_SECONDS = 900.0
_TOOK_TOO_LONG = 504
# Between the tries of what may safely be asked again.
_RETRY_SECONDS = (1.0, 3.0, 10.0)
# A proxy of the environment cannot reach this machine's own loopback.
_DIRECT: dict[str, httpx.BaseTransport | None] = {
    "all://localhost": None,
    "all://127.0.0.1": None,
    "all://[::1]": None,
}


class Connection:
    """Requests to one server, with one token. Every one raises a ClientError where it fails.

    What is asked `patiently` waits for a check, up to 15 minutes.
    """

    def __init__(self, url: str, token: str | None, *, timeout: float) -> None:
        self.url = url.rstrip("/")
        headers = {} if token is None else {"Authorization": f"Bearer {_printable(token)}"}
        limits = httpx.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS))
        try:
            self._http = httpx.Client(
                base_url=self.url, timeout=limits, headers=headers, mounts=_DIRECT
            )
        except httpx.InvalidURL as error:
            raise ServerUnreachable(url, str(error)) from error

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, *, patiently: bool = False, **query: str | float | None) -> Any:
        return self._json("GET", path, patiently=patiently, params=given(query))

    def post(self, path: str, *, patiently: bool = False, **options: Any) -> Any:
        return self._json("POST", path, patiently=patiently, **options)

    def patch(self, path: str, **options: Any) -> Any:
        return self._json("PATCH", path, patiently=False, **options)

    def delete(self, path: str) -> None:
        self._request("DELETE", path)

    def post_once(self, path: str, *, headers: Mapping[str, str], **options: Any) -> Any:
        """Post what has an idempotency key, again where the answer was lost on the way.

        A server that is not there at all is not asked again, nor one that took too long.
        """
        for pause in _RETRY_SECONDS:
            try:
                return self.post(path, patiently=True, headers=headers, **options)
            except ClientError as error:
                if not _is_lost(error):
                    raise
            time.sleep(pause)
        return self.post(path, patiently=True, headers=headers, **options)

    def upload(self, path: str, source: Path, on_bytes: OnBytes | None) -> Any:
        """Send a file as the part `file`; `on_bytes` hears of every piece sent."""
        with _CountedFile(source, on_bytes) as file:
            return self.post(path, patiently=True, files={"file": (source.name, file)})

    def save(self, path: str, directory: Path, *, name: str) -> Path:
        """Download into a folder under the server's name for it, else `name`, or raise
        DamagedDownload, which leaves nothing behind.
        """
        with self._stream("GET", path) as response:
            target = directory / (_filename(response) or name)
            with _partial(target) as partial:
                found = _save(response, partial)
                expected = _hash(response)
                if found != expected:
                    raise DamagedDownload(target.name, expected=expected, found=found)
        return target

    def save_answer(self, path: str, target: Path, **options: Any) -> Path:
        """Save what a POST is answered with; nothing of it where it breaks off."""
        with (
            self._stream("POST", path, timeout=_patient(), **options) as response,
            _partial(target) as partial,
        ):
            _save(response, partial)
        return target

    def _json(self, method: str, path: str, *, patiently: bool, **options: Any) -> Any:
        limits = {"timeout": _patient()} if patiently else {}
        response = self._request(method, path, **options, **limits)
        try:
            return response.json()
        except ValueError as error:
            raise UnknownAnswer(f"{self.url}{path} answers with what is no JSON") from error

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **options)
        except httpx.RequestError as error:
            raise ServerUnreachable(self.url, str(error)) from error
        return _accepted(response)

    @contextmanager
    def _stream(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        try:
            with self._http.stream(method, path, **options) as response:
                if not response.is_success:
                    response.read()
                yield _accepted(response)
        except httpx.RequestError as error:
            raise ServerUnreachable(self.url, str(error)) from error


def _is_lost(error: ClientError) -> bool:
    """Whether the request may have arrived, or would a moment later, and its answer did not."""
    if isinstance(error, ProblemError):
        return is_passing(error) and error.status != _TOOK_TOO_LONG
    never_sent = (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol)
    return is_passing(error) and not isinstance(error.__cause__, (*never_sent, httpx.ReadTimeout))


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


def parsed(model: type[M], answer: Any) -> M:
    """An answer as a model of ours; UnknownAnswer where it is none."""
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UnknownAnswer(f"{model.__name__}.{where}: {first['msg']}") from error


def _patient() -> httpx.Timeout:
    return httpx.Timeout(_CHECK_SECONDS, connect=_CONNECT_SECONDS)


def _printable(token: str) -> str:
    """ValueError, which does not repeat it, for what cannot stand in a header."""
    if not (token.isascii() and token.isprintable() and token):
        raise ValueError("the token holds characters that none has; copy it whole, on one line")
    return token


def given(query: Mapping[str, str | float | None]) -> dict[str, str | float]:
    """What of it is not None."""
    return {name: value for name, value in query.items() if value is not None}


def path_of(*parts: str) -> str:
    """A path whose parts lead nowhere else; InvalidId for one that would."""
    if stray := {"", ".", ".."}.intersection(parts):
        raise InvalidId(stray.pop())
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


@contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """A file beside the target, which takes its place at the end, unless something is raised."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.part")
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


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
