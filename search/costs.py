"""Costs of candidates: from the columns of a row to the value that everything else reckons with."""

from pareconv.models.cost_table import Cost
from pareconv.storage.candidates import Candidate


def cost_of(candidate: Candidate) -> Cost:
    """What one image costs in its student."""
    return Cost(candidate.flops, candidate.params, candidate.adds, candidate.latency_ms)
