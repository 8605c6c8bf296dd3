"""Origins: whether a request comes from a page of ours, and asks for this machine. Knows no token.

Browsers say where a request comes from, other programs need not: only the former can be made to
send one by a page that their user has never heard of.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from pareconv.service.errors import Foreign

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_PORTS = {"http": 80, "https": 443}


def require_own_page(request: HTTPConnection) -> None:
    """Foreign unless a page of this server sent it: for what a browser's cookie would allow."""
    site, origin = _said(request)
    if site is None and origin is None:
        raise Foreign(
            "a request with a cookie must say where it comes from (Origin or Sec-Fetch-Site); "
            "a program sends its token as `Authorization: Bearer`"
        )
    refuse_foreign_page(request)


def refuse_foreign_page(request: HTTPConnection) -> None:
    """Foreign for what another site's page sent; what says nothing of a page passes."""
    site, origin = _said(request)
    # No page can forge it, and it holds where a proxy has changed the Host.
    is_own = site == "same-origin" or (site is None and origin in {None, _host(request)})
    if not is_own:
        raise Foreign(
            f"a page of {request.headers.get('origin', 'another site')} sent this, which is not "
            f"the server that it was sent to, {request.headers.get('host')}"
        )


def require_this_machine(request: HTTPConnection) -> None:
    """Foreign unless it came over loopback, for a loopback name, from no page of another site.

    A name of somebody else's may lead here (DNS rebinding), and his pages would be of its origin.
    """
    local = request.scope.get("server")
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    if not is_loopback(host) or (local and _is_address(local[0]) and not is_loopback(local[0])):
        raise Foreign(
            f"without tokens this server answers its own machine alone, as localhost or 127.0.0.1, "
            f"not as {host!r}; make a token with `pareconv token create --scope admin`"
        )
    if request.scope["method"] not in SAFE or "origin" in request.headers:
        refuse_foreign_page(request)


def is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _said(request: HTTPConnection) -> tuple[str | None, tuple[str, int | None] | None]:
    origin = request.headers.get("origin")
    return request.headers.get("sec-fetch-site"), None if origin is None else _place(origin)


def _host(request: HTTPConnection) -> tuple[str, int | None]:
    # The scheme may be another in front of a proxy: the port that it means is then the origin's.
    scheme = urlsplit(request.headers.get("origin", "")).scheme or request.scope["scheme"]
    return _place(f"{scheme}://{request.headers.get('host', '')}")


def _place(url: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
    except ValueError:  # a port that is none
        return "", None


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
