"""The plan: which option rebuilds which block. Plain values that survive JSON; knows no torch."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from pareconv.models.errors import PlanError

HyperValue = int | float

_OPTION = re.compile(r"(?P<operator>[a-z][a-z0-9_]*)(\((?P<hyper>[^()]*)\))?")
_HYPER = re.compile(r"\s*(?P<name>[a-z][a-z0-9_]*)\s*=\s*(?P<value>[0-9.eE+-]+)\s*")


@dataclass(frozen=True, slots=True)
class Option:
    """One way to rebuild a block: an operator and its hyper-parameters, or `keep`.

    Its text form, `svd(ratio=0.5)`, is what the API, the study and the database hold.
    """

    operator: str
    hyper: tuple[tuple[str, HyperValue], ...] = ()

    @classmethod
    def of(cls, operator: str, **hyper: HyperValue) -> Self:
        return cls(operator, tuple(sorted(hyper.items())))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `name` or `name(a=1, b=0.5)`; raise PlanError for anything else."""
        match = _OPTION.fullmatch(text.strip())
        if match is None:
            raise PlanError(f"option {text!r} is not of the form operator(name=value, ...)")
        return cls.of(match["operator"], **dict(_parse_hyper(text, match["hyper"] or "")))

    @property
    def kwargs(self) -> dict[str, HyperValue]:
        return dict(self.hyper)

    def __str__(self) -> str:
        if not self.hyper:
            return self.operator
        return f"{self.operator}({', '.join(f'{name}={value}' for name, value in self.hyper)})"


KEEP = Option("keep")


def _parse_hyper(text: str, hyper: str) -> Iterator[tuple[str, HyperValue]]:
    for item in filter(str.strip, hyper.split(",")):
        match = _HYPER.fullmatch(item)
        try:
            if match is None:
                raise ValueError
            value = match["value"]
            yield match["name"], int(value) if value.lstrip("+-").isdigit() else float(value)
        except ValueError:
            raise PlanError(f"option {text!r}: {item.strip()!r} is not name=number") from None


class Plan(Mapping[str, Option]):
    """The choice of one option per block. Blocks it does not name are kept; `keep` is not stored.

    Immutable, hashable and ordered by block name, so that equal plans are equal texts.
    """

    def __init__(self, options: Mapping[str, Option]) -> None:
        self._options = {
            block: options[block] for block in sorted(options) if options[block] != KEEP
        }

    @classmethod
    def from_json(cls, value: Mapping[str, str]) -> Self:
        """Read `{"layer1.0": "svd(ratio=0.5)"}`; raise PlanError for an option it cannot read."""
        return cls({block: Option.parse(text) for block, text in value.items()})

    def to_json(self) -> dict[str, str]:
        return {block: str(option) for block, option in self._options.items()}

    @cached_property
    def key(self) -> str:
        """One line of text that is the same for equal plans."""
        return "; ".join(f"{block}={option}" for block, option in self._options.items())

    def __getitem__(self, block: str) -> Option:
        return self._options[block]

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Plan({self.key!r})"
