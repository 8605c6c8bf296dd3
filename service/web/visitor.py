"""Who looks at a page. A server that asks for no tokens knows nobody, and lets everybody look."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request


@dataclass(frozen=True, slots=True)
class Visitor:
    """`has_token` is false where nobody is asked for one."""

    has_token: bool = False


async def _visitor(request: Request) -> Visitor:
    return Visitor(has_token=bool(request.state.access.token_id))


InjectedVisitor = Annotated[Visitor, Depends(_visitor)]
