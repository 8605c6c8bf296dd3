"""The addresses under /ui that no page has: said on a page, not as JSON."""

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from pareconv.service.scoped_route import open_to_all
from pareconv.service.web.page_route import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/ui/{rest:path}")
@open_to_all
def refuse(request: Request) -> Response:
    raise HTTPException(404, f"no page is at {request.url.path}; the list of jobs leads to all")
