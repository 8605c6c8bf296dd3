"""Values: frozen copies of rows, the only thing that leaves this package."""

from dataclasses import dataclass, fields
from typing import Self

from pareconv.storage.tables import Base


@dataclass(frozen=True, slots=True)
class Value:
    """A frozen copy of a row: each field is the column of the same name."""

    @classmethod
    def from_row(cls, row: Base) -> Self:
        return cls(**{field.name: getattr(row, field.name) for field in fields(cls)})
