"""Assets: the packaged files that pages load, those of libraries among them. Nothing else is
served.
"""

import gzip
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response

from pareconv.service.scoped_route import ScopedRoute, open_to_all

router = APIRouter(prefix="/web", route_class=ScopedRoute, include_in_schema=False)

_FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# Of libraries: package and folder in it.
_THEIRS = {
    "plotly.min.js": ("plotly", "package_data"),
    "swagger-ui-bundle.js": ("fastapi_offline", "static"),
    "swagger-ui.css": ("fastapi_offline", "static"),
}
_FOR_EVER = "public, max-age=31536000, immutable"


@router.get("/{name}")
@open_to_all
def show_asset(name: str, request: Request) -> Response:
    """Kept by browsers for ever: the address changes with the content."""
    path = _path(name)
    if path is None:
        raise HTTPException(404)
    headers = {
        "cache-control": _FOR_EVER,
        "vary": "accept-encoding",
        "x-content-type-options": "nosniff",
    }
    content = path.read_bytes()
    if "gzip" in request.headers.get("accept-encoding", ""):
        content = _packed(path)
        headers["content-encoding"] = "gzip"
    return Response(content, media_type=_TYPES[path.suffix], headers=headers)


@cache
def address(name: str) -> str:
    """Where a page finds that file; KeyError where there is none."""
    path = _path(name)
    if path is None:
        raise KeyError(name)
    return f"/web/{name}?{sha256(path.read_bytes()).hexdigest()[:12]}"


@cache
def _packed(path: Path) -> bytes:
    return gzip.compress(path.read_bytes(), 6)


def _path(name: str) -> Path | None:
    if name in _THEIRS:
        package, folder = _THEIRS[name]
        # Found without importing the package, which nothing here needs.
        spec = find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        return Path(spec.origin).parent / folder / name
    path = _FOLDER / name
    is_ours = path.parent == _FOLDER and path.suffix in _TYPES and path.is_file()
    return path if is_ours else None
