"""Ramp-up: how a weight grows to 1 while networks that teach each other know little yet."""

import math


def ramped(done: float, until: float) -> float:
    """exp(-5 (1 - done / until)^2), and 1 from `until` on: both are shares of the training (Laine
    and Aila 2017, arXiv 1610.02242).
    """
    return 1.0 if done >= until else math.exp(-5 * (1 - done / until) ** 2)
