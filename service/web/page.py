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

# Plotly begins with an empty style element, and fills it through the DOM; empties style attributes;
# and brings one style of its own for maps. These and no others are allowed.
_NO_STYLE = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
_STYLE_OF_MAPS = "'sha256-ji27qzEtxXZW+7dun6UwjHXJ18e6WAin1VvNtkzIE/o='"
POLICY = (
    f"default-src 'self'; style-src 'self' 'unsafe-hashes' {_NO_STYLE} {_STYLE_OF_MAPS}; "
    "img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
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
