"""The server: HTTP and the workers, from start to a clean end. Prints nothing."""

import signal
import socket
from types import FrameType

import uvicorn

from pareconv.service.app import create_app
from pareconv.service.errors import Unguarded
from pareconv.service.origins import is_loopback
from pareconv.service.settings import ServiceSettings
from pareconv.service.stores import Stores
from pareconv.service.supervisor import Supervisor

# Streams of events never end by themselves while their job runs.
_GRACE_SECONDS = 3


class _Server(uvicorn.Server):
    """Starts the workers once it listens: a port that is taken starts none."""

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


def serve(settings: ServiceSettings) -> None:
    """Answer requests and run jobs until SIGINT or SIGTERM; leaves no process behind.

    Raises Unguarded, and SystemExit when the port cannot be had or the database not be opened;
    the log says why.
    """
    require_guard(settings)
    supervisor = Supervisor(settings.workers, settings.environment())
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,  # each request logs itself, with its id
        lifespan="on",
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    former = {each: signal.signal(each, _ignore) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        _Server(config, supervisor).run()
    finally:
        supervisor.stop()
        for each, handler in former.items():
            signal.signal(each, handler)


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    """uvicorn ends the server by the signal, then sends it once more to whoever had it before.

    That would end this process before its workers.
    """
