"""Ids: 26 characters, safe in a URL and a file name, sorted by time of birth, not to be guessed."""

import re
import secrets
import time

ID_LENGTH = 26

# Crockford's base 32: no letter that reads like a digit.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS = 74
_ID = re.compile(f"[{_ALPHABET}]{{{ID_LENGTH}}}")


def new_id() -> str:
    """56 bits of microseconds since 1970, then 74 random bits."""
    value = (time.time_ns() // 1000) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(5 * ID_LENGTH - 5, -1, -5))


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None
