"""Costs and their limits as the tables write them."""

from pareconv.service.figures import count, percent


def cost(amount: int, ratio: float | None) -> str:
    """An amount and its share of the teacher's."""
    return f"{count(amount)} {percent(ratio, digits=0):>4}"


def limits_of(flops: int | None, params: int | None) -> list[str]:
    """The limits that there are, in words."""
    limits = ((flops, "FLOPs"), (params, "parameters"))
    return [f"{count(limit)} {title}" for limit, title in limits if limit is not None]
