"""The server: HTTP and the workers, from start to a clean end. Prints nothing."""

import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from pareconv.service.app import create_app
from pareconv.service.errors import CannotListen, Unguarded
from pareconv.service.origins import is_loopback
from pareconv.service.settings import ServiceSettings
from pareconv.service.stores import Stores
from pareconv.service.supervisor import Supervisor

# Streams of events never end by themselves while their job runs.
_GRACE_SECONDS = 3
_BACKLOG = 2048


class _Server(uvicorn.Server):
    """Starts the workers once it answers: a database that cannot be opened starts none."""

    def __init__(self, config: uvicorn.Config, supervisor: Supervisor) -> None:
        super().__init__(config)
        self._supervisor = supervisor

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._supervisor.start()


def require_guard(settings: ServiceSettings) -> None:
    """Unguarded where other machines could ask, and nobody would be asked for a token."""
    if is_loopback(settings.host):
        return
    stores = Stores.open(settings)
    try:
        if not stores.tokens.are_asked_for():
            raise Unguarded(
                f"the server does not listen on {settings.host} before there is a token, as "
                "whoever reaches it could do anything; make one with the same settings by "
                "`pareconv token create --scope admin`, or let --host (PARECONV_HOST) be 127.0.0.1"
            )
    finally:
        stores.database.close()


def listen(settings: ServiceSettings) -> list[socket.socket]:
    """A socket for each address of the host, which nobody else can have from now on.

    Raises CannotListen.
    """
    sockets: list[socket.socket] = []
    host, port = settings.host, settings.port
    try:
        for family, *_, address in socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            sockets.append(socket.create_server(address[:2], family=family, backlog=_BACKLOG))
    except OSError as error:
        for each in sockets:
            each.close()
        reason = str(error.strerror).partition(" (")[0]
        raise CannotListen(
            f"the server cannot listen on {_address(host, port)}: {reason}; is another one "
            "running there already? Take another port by --port (PARECONV_PORT)"
        ) from error
    return sockets


def serve(settings: ServiceSettings, on_listening: Callable[[str], None]) -> None:
    """Answer requests and run jobs until SIGINT or SIGTERM; leaves no process behind.

    `on_listening` is told the address before anything is started. Raises Unguarded and
    CannotListen, and SystemExit when the database cannot be opened; the log says why.
    """
    require_guard(settings)
    sockets = listen(settings)
    on_listening(f"http://{_address(settings.host, sockets[0].getsockname()[1])}")
    supervisor = Supervisor(settings.workers, settings.environment())
    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,  # each request logs itself, with its id
        lifespan="on",
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    former = {each: signal.signal(each, _ignore) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        _Server(config, supervisor).run(sockets)
    finally:
        supervisor.stop()
        for each, handler in former.items():
            signal.signal(each, handler)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    """uvicorn ends the server by the signal, then sends it once more to whoever had it before.

    That would end this process before its workers.
    """
