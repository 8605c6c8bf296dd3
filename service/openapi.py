"""The OpenAPI document: FastAPI's, with the problem as the one shape of errors, and the scopes."""

from typing import Any

from fastapi import FastAPI

from pareconv.service.problems import Problem

TAGS = [
    {"name": "jobs", "description": "Submit a job, follow it, stop it, resume it."},
    {"name": "results", "description": "The front, every trial, the events, the files."},
    {
        "name": "libraries",
        "description": "What was distilled block by block, and what it predicts.",
    },
    {"name": "latencies", "description": "How long parts of networks take on a device."},
    {"name": "uploads", "description": "Model files and data sets that jobs refer to."},
    {"name": "catalog", "description": "What can be asked for, and what a job would find."},
    {"name": "server", "description": "Whether it lives, is ready, and which version it is."},
]


SECURITY = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of `pareconv token create`; none is needed before the first is "
        "made. `read` looks, `submit` changes too, `admin` sees what is anybody's.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "pareconv_session",
        "description": "What `POST /session` gave a browser; over https it is named "
        "`__Host-pareconv_session`.",
    },
}


def describe(app: FastAPI) -> None:
    """Make `app.openapi()` complete: the routes refer to the schema of a problem by name."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if "Problem" not in schemas:
            template = "#/components/schemas/{model}"
            problem = Problem.model_json_schema(ref_template=template)
            schemas |= problem.pop("$defs")
            schemas["Problem"] = problem
            document["components"]["securitySchemes"] = SECURITY
        return document

    app.openapi = openapi  # type: ignore[method-assign]
