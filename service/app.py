"""The app: settings in, routes and their parts out. Nothing is opened before the server starts."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.types import Scope

from pareconv.search.executors.child import Child
from pareconv.service.api_docs import add_docs
from pareconv.service.body_limit import BodyLimit
from pareconv.service.dashboard import Dashboard
from pareconv.service.errors import answer_errors
from pareconv.service.event_stream import EventStreams
from pareconv.service.fronts import Fronts
from pareconv.service.gate import Gate
from pareconv.service.intake import Intake
from pareconv.service.metrics import Latencies
from pareconv.service.openapi import TAGS, describe
from pareconv.service.problems import documented
from pareconv.service.request_limit import RequestLimit
from pareconv.service.requests import Requests
from pareconv.service.routes import (
    catalog,
    events,
    front,
    health,
    jobs,
    latencies,
    libraries,
    session,
    students,
    uploads,
)
from pareconv.service.security_headers import SecurityHeaders
from pareconv.service.settings import ServiceSettings
from pareconv.service.stores import Stores
from pareconv.service.tasks import MEMORY_BYTES, Runner, Tasks
from pareconv.service.web import routes as web
from pareconv.storage.workers import WorkerStore

logger = logging.getLogger(__name__)

_UPLOAD_PATHS = frozenset({"/jobs", "/inspect", "/teachers", "/datasets"}) | web.UPLOAD_PATHS
_ROUTERS = (
    jobs.router,
    front.router,
    events.router,
    students.router,
    libraries.router,
    latencies.router,
    *uploads.ROUTERS,
    catalog.router,
    session.router,
    health.router,
    *web.ROUTERS,
)


def create_app(settings: ServiceSettings | None = None, *, runner: Runner | None = None) -> FastAPI:
    """The app over these settings, else those of the environment.

    `runner` runs the tasks that need torch; a child process of the server's own by default.
    """
    settings = settings or ServiceSettings()
    dashboard = Dashboard(
        lambda: app.state.stores.database.url, is_writable=settings.dashboard_writable
    )
    app = FastAPI(
        title="Pareconv",
        summary="Give a trained CNN and a budget, get a Pareto front of cheaper networks.",
        version=version("pareconv"),
        openapi_tags=TAGS,
        responses=documented(401, 403, 422, 429, 500),
        docs_url=None,
        redoc_url=None,
        lifespan=lambda app: _lifespan(app, settings, runner, dashboard),
    )
    for router in _ROUTERS:
        app.include_router(router)
    app.add_middleware(
        BodyLimit,
        limit_of=lambda scope: _body_limit(scope, settings),
        limit_seconds=settings.max_upload_seconds,
    )
    app.add_middleware(SecurityHeaders)  # outside of whatever answers by itself
    app.state.latencies = Latencies()
    app.add_middleware(Requests, latencies=app.state.latencies)  # outside of all others
    answer_errors(app)
    describe(app)
    add_docs(app)
    dashboard.mount(app)
    return app


@asynccontextmanager
async def _lifespan(
    app: FastAPI, settings: ServiceSettings, runner: Runner | None, dashboard: Dashboard
) -> AsyncIterator[None]:
    stores = Stores.open(settings)
    _tell_of_others(stores)
    tasks = Tasks(runner or _started_child(settings))
    app.state.settings = settings
    app.state.stores = stores
    app.state.tasks = tasks
    app.state.streams = EventStreams(stores.events)
    app.state.fronts = Fronts()
    app.state.gate = Gate(stores.tokens, RequestLimit(settings.max_requests_per_minute))
    app.state.intake = Intake(
        stores,
        tasks,
        limit_bytes=settings.max_upload_bytes,
        limit_count=settings.max_uploads_per_token,
    )
    try:
        yield
    finally:
        app.state.streams.close()
        dashboard.close()
        tasks.close()
        stores.database.close()


def _tell_of_others(stores: Stores) -> None:
    """A second server on one home is easily started by mistake."""
    if workers := WorkerStore(stores.database).alive():
        hosts = ", ".join(sorted({each.host for each in workers}))
        logger.warning(
            "workers already at work on this database: %d, on %s; they share its jobs with those "
            "of this server. Another --home (PARECONV_HOME) keeps them apart",
            len(workers),
            hosts,
        )


def _started_child(settings: ServiceSettings) -> Child:
    child = Child(memory_bytes=MEMORY_BYTES, environment=settings.environment())
    child.start()
    return child


def _body_limit(scope: Scope, settings: ServiceSettings) -> int:
    content_type = dict(scope["headers"]).get(b"content-type", b"")
    if scope["path"] in _UPLOAD_PATHS and content_type.startswith(b"multipart/"):
        # A job may bring a model and data; each alone is held to the limit where it is stored.
        return 2 * settings.max_upload_bytes + settings.max_body_bytes
    return settings.max_body_bytes
