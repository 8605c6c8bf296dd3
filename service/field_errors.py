"""Errors of pydantic in the words of whoever wrote the request: one clear message per field."""

import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pareconv.search.section import Section
from pareconv.service.problems import FieldError

_PLACES = frozenset({"body", "query", "path", "header", "cookie"})
# A union adds the name of each of its branches to the path: `int`, `list[str]`, `Normalize`.
_BRANCH = re.compile(r"int|str|float|bool|none|[A-Z]\w*|.*[\[\]()].*")
_HOLD_NAMES = frozenset({"plan", "parameters"})  # whose keys may look like such a branch
_NAMES_A_KEY = frozenset({"missing", "extra_forbidden"})
_WHOLE_BODY = "body"
_MAX_SHOWN = 80
_PREFIX = "Input should be "

Details = Mapping[str, Any]


def field_errors(errors: Iterable[Details]) -> list[FieldError]:
    """One error per field, those of a union's branches joined; fields in the order they came."""
    by_field: dict[str, list[Details]] = {}
    for error in errors:
        by_field.setdefault(_field(error), []).append(error)
    return [
        FieldError(field=field, message=_message(alike))
        for field, alike in by_field.items()
        if not _is_other_branch(field, alike, by_field)
    ]


def shown(value: object) -> str:
    """A value as JSON, cut where it is long."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


def _field(error: Details) -> str:
    location = list(error["loc"])
    if location and location[0] in _PLACES:
        del location[0]
    last = len(location) - 1 if error["type"] in _NAMES_A_KEY else None
    named = {i + 1 for i, part in enumerate(location) if part in _HOLD_NAMES}
    parts = [
        str(part)
        for i, part in enumerate(location)
        if i == last or i in named or not _is_branch(part)
    ]
    return ".".join(parts) or _WHOLE_BODY


def _is_branch(part: object) -> bool:
    return isinstance(part, str) and _BRANCH.fullmatch(part) is not None


def _is_other_branch(field: str, alike: list[Details], fields: Iterable[str]) -> bool:
    """Whether the errors are of branches that were not meant: another one got further inside."""
    has_deeper = any(other.startswith(f"{field}.") for other in fields)
    return has_deeper and all(_is_branch(error["loc"][-1]) for error in alike)


def _message(alike: list[Details]) -> str:
    first = alike[0]
    if first["type"] == "missing":
        return "is required"
    if first["type"] == "extra_forbidden":
        return f"is not a known field (got {shown(first['input'])}); {_remedy(first['loc'][-1])}"
    texts = list(dict.fromkeys(_text(error) for error in alike))
    if first["type"] == "value_error":
        return texts[0]
    return f"{_joined(texts)}, got {shown(first['input'])}"


def _remedy(unknown: object) -> str:
    near = get_close_matches(str(unknown), _spec_fields(Section), 1)
    return f"did you mean {near[0]!r}?" if near else "/docs lists the known ones"


def _spec_fields(section: type[Section]) -> set[str]:
    below = (_spec_fields(each) for each in section.__subclasses__())
    return set(section.model_fields).union(*below)


def _text(error: Details) -> str:
    if error["type"] == "model_type":
        return f"{_PREFIX}an object"
    text: str = error["msg"].removeprefix("Value error, ")
    return re.sub(r", unable to parse .*|, got a number .*", "", text)


def _joined(texts: list[str]) -> str:
    alternatives = [text.removeprefix(_PREFIX) for text in texts]
    if all(text.startswith(_PREFIX) for text in texts):
        return f"should be {' or '.join(alternatives)}"
    return "; ".join(texts)
