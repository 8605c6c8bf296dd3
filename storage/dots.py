"""Dots: the candidates of a job as a chart needs them. Reads few columns, so that ten thousand are
one quick query.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select

from pareconv.storage.candidate_states import CandidateState
from pareconv.storage.database import Database
from pareconv.storage.fronts import FrontCost
from pareconv.storage.tables import CandidateRow


@dataclass(frozen=True, slots=True)
class Dot:
    """A candidate that was measured, completely or, where it was stopped, up to its last rung.

    `cost` is that of the chart: FLOPs and additions, parameters, or milliseconds.
    """

    number: int
    is_complete: bool
    cost: float
    accuracy: float
    stderr: float | None
    evaluations: int
    predicted: float | None
    finalist: bool


def dots(database: Database, job_id: str, cost: FrontCost) -> list[Dot]:
    """Every measured candidate of the job that has that cost, by number."""
    amount = {
        "flops": CandidateRow.flops + CandidateRow.adds,
        "params": CandidateRow.params,
        "latency": CandidateRow.latency_ms,
    }[cost]
    query: Select[*tuple[Any, ...]] = (
        select(
            CandidateRow.number.label("number"),
            (CandidateRow.state == CandidateState.COMPLETE).label("is_complete"),
            amount.label("cost"),
            CandidateRow.accuracy.label("accuracy"),
            CandidateRow.accuracy_stderr.label("stderr"),
            CandidateRow.evaluations.label("evaluations"),
            CandidateRow.predicted.label("predicted"),
            CandidateRow.finalist.label("finalist"),
        )
        .where(
            CandidateRow.job_id == job_id,
            CandidateRow.state.in_([CandidateState.COMPLETE, CandidateState.STOPPED]),
            CandidateRow.accuracy.is_not(None),
            amount.is_not(None),
        )
        .order_by(CandidateRow.number)
    )
    with database.session(read_only=True) as session:
        return [Dot(**row) for row in session.execute(query).mappings()]
