"""The page `/docs`: every call with its fields, to be tried. Its script alone may run in it."""

import base64
import hashlib
import re

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

from pareconv.service.web.assets import address

_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_ICON = "data:,"


def add_docs(app: FastAPI) -> None:
    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "").rstrip("/")
        url = f"{root}{app.openapi_url}"
        page = get_swagger_ui_html(
            openapi_url=url,
            title=f"{app.title}: calls",
            swagger_js_url=root + address("swagger-ui-bundle.js"),
            swagger_css_url=root + address("swagger-ui.css"),
            swagger_favicon_url=_ICON,
        )
        return HTMLResponse(page.body, headers={"content-security-policy": _policy(page.body)})


def _policy(page: bytes | memoryview) -> str:
    [script] = _INLINE.findall(bytes(page).decode())
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; connect-src 'self'; img-src 'self' data:; "
        f"script-src 'self' 'sha256-{digest}'; style-src 'self' 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
