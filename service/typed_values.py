"""Values as people type them, in a form or after an option: what cannot be read stays text, of
which the spec says what it should be.
"""

import json
from typing import Any


def number_or_text(text: str) -> int | float | str:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def whole_or_text(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


def names(text: str) -> list[str]:
    """Names with commas between them."""
    return [name.strip() for name in text.split(",") if name.strip()]


def names_or_auto(text: str) -> list[str] | str:
    return text if text == "auto" else names(text)


def object_or_text(text: str) -> dict[str, Any] | str:
    """What begins as a JSON object is one."""
    try:
        found = json.loads(text) if text.lstrip().startswith("{") else text
    except ValueError:
        return text
    return found if isinstance(found, dict) else text
