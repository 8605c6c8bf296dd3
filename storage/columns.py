"""Column types that every table shares, the same in meaning on SQLite and PostgreSQL."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Enum, Integer, String, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator

from pareconv.storage.ids import ID_LENGTH

JSON_VALUE = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

# Ids are compared byte by byte: many a locale sorts letters otherwise, and pages follow the order.
ID = String(ID_LENGTH).with_variant(String(ID_LENGTH, collation="C"), "postgresql")

SHA256 = String(64)

# Names that are sorted: byte by byte too, as Python sorts them.
NAME = Text().with_variant(Text(collation="C"), "postgresql")

# SQLite numbers rows by itself only in a column that is exactly INTEGER; that has 64 bits anyway.
SEQUENCE = BigInteger().with_variant(Integer(), "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime, in and out. A naive one is refused: nobody knows what it means."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{value} has no time zone; use datetime.now(UTC)")
        return value and value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        # SQLite keeps the digits only, PostgreSQL answers in the session's time zone.
        aware: datetime = value if value.tzinfo else value.replace(tzinfo=UTC)
        return aware.astimezone(UTC)


def word(kind: type[StrEnum]) -> Enum:
    """A column of one of the enum's values, kept as plain text so that a new value needs no DDL."""
    return Enum(
        kind,
        native_enum=False,
        length=16,
        values_callable=lambda members: [member.value for member in members],
    )
