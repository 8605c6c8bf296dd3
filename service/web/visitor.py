"""Who looks at a page. A server that asks for no tokens knows nobody, and lets everybody look."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends


@dataclass(frozen=True, slots=True)
class Visitor:
    """`name` is that of the token; None where nobody is asked for one."""

    name: str | None = None


async def _visitor() -> Visitor:
    return Visitor()


InjectedVisitor = Annotated[Visitor, Depends(_visitor)]
