"""A plan as the API shows it: its blocks in the order in which the network runs them."""

from collections.abc import Mapping
from typing import Any


def in_order(plan: Mapping[str, str], profile: Mapping[str, Any] | None) -> dict[str, str]:
    """The same plan; as it is where the job has no profile, and so no order, yet."""
    places = {block["name"]: place for place, block in enumerate((profile or {}).get("blocks", []))}
    return dict(sorted(plan.items(), key=lambda item: places.get(item[0], len(places))))
