"""Access: what of a database somebody sees, and whose is what he makes. Asks no database."""

from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute

RowT = TypeVar("RowT")


@dataclass(frozen=True, slots=True)
class Access:
    """What is made becomes the token's; `token_id` is empty where no token is asked for.

    What is not seen is, to who asks, not there.
    """

    token_id: str = ""
    sees_all: bool = False

    def sees(self, token_id: str) -> bool:
        return self.sees_all or token_id == self.token_id

    def narrow(self, query: Select[RowT], column: InstrumentedAttribute[str]) -> Select[RowT]:
        """The query without the rows that are not seen; `column` is their token's id."""
        return query if self.sees_all else query.where(column == self.token_id)

    def to_json(self) -> dict[str, Any]:
        return {"token_id": self.token_id, "sees_all": self.sees_all}


EVERYTHING = Access(sees_all=True)
# No token has such an id.
NOTHING = Access(token_id="nobody")
