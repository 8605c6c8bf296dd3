"""Seeds: one number per random choice, from the job's seed and what the choice is for."""

import hashlib


def derived(seed: int, *parts: object) -> int:
    """A seed from the job's and from `parts` alone, never from the order things happened in."""
    digest = hashlib.sha256(repr((seed, *map(str, parts))).encode()).digest()
    return int.from_bytes(digest[:4], "big")
