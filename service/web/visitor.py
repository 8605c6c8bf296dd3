"""Who looks at a page. A server that asks for no tokens knows nobody, and lets everybody look."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request


@dataclass(frozen=True, slots=True)
class Visitor:
    """`has_token` is false where nobody is asked for one; `sees_all` is true of an admin too."""

    has_token: bool = False
    sees_all: bool = False


async def _visitor(request: Request) -> Visitor:
    access = request.state.access
    return Visitor(has_token=bool(access.token_id), sees_all=access.sees_all)


InjectedVisitor = Annotated[Visitor, Depends(_visitor)]
