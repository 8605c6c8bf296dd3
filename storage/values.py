"""Values: frozen copies of rows, the only thing that leaves this package."""

from dataclasses import dataclass, fields
from typing import Any, Self

from pareconv.storage.tables import Base


@dataclass(frozen=True, slots=True)
class Value:
    """A frozen copy of a row: each field is the column of the same name."""

    @classmethod
    def from_row(cls, row: Base, **known: Any) -> Self:
        """`known` are the fields that are no columns."""
        columns = (field.name for field in fields(cls) if field.name not in known)
        return cls(**known, **{name: getattr(row, name) for name in columns})
