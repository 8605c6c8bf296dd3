"""Scopes: what a token may do. Each includes those before it."""

from enum import StrEnum


class Scope(StrEnum):
    """`read` looks at what is its own, `submit` makes and changes that, `admin` sees all."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"

    def includes(self, needed: "Scope") -> bool:
        order = list(Scope)
        return order.index(self) >= order.index(needed)
