"""Own pages: a browser may be made to send a form by a page of another site; that is refused."""

from urllib.parse import urlsplit

from fastapi import HTTPException, Request


async def require_own_page(request: Request) -> None:
    """403 for a request that a page of another site sent; programs say nothing of a page."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        is_own = site in {"same-origin", "none"}
    else:
        is_own = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if not is_own:
        raise HTTPException(
            403, f"a page of {origin or 'another site'} sent this; open this server's own page"
        )
