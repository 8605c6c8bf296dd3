"""A page: a template and plain values become HTML under a strict policy. Reads no store."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from pareconv.service.web import assets, figures

# Plotly sets styles through the DOM, which a policy does not forbid; it writes none into the page.
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "private, no-cache",
}


def page(
    request: Request,
    template: str,
    values: Mapping[str, Any],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """The template `<template>.html.jinja`. Whatever stands in the values is shown as text."""
    html = (
        _environment()
        .get_template(f"{template}.html.jinja")
        .render(path=request.url.path, **values)
    )
    return HTMLResponse(html, status_code=status, headers={**_HEADERS, **(headers or {})})


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(str(files("pareconv.service.web") / "templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= figures.FILTERS
    environment.globals |= {"asset": assets.address, "version": version("pareconv")}
    return environment
