"""The front as one query: the complete candidates that no other one dominates. Runs nothing."""

from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from pareconv.storage.candidate_states import CandidateState
from pareconv.storage.tables import CandidateRow

FrontCost = Literal["flops", "params", "latency"]


def pareto_rows(job_id: str, cost: FrontCost) -> Select[CandidateRow]:
    """Select the Pareto set (most accurate, least cost), cheapest first.

    Going from cheap to dear, a candidate belongs to it when it is more accurate than all before.
    Of candidates that are equal in both, the one with the lowest number does.
    """
    ranked = (
        select(CandidateRow.number, CandidateRow.accuracy, _best_before(cost).label("best_before"))
        .where(
            CandidateRow.job_id == job_id,
            CandidateRow.state == CandidateState.COMPLETE,
            _amount(cost).is_not(None),
        )
        .subquery()
    )
    is_better = or_(ranked.c.best_before.is_(None), ranked.c.accuracy > ranked.c.best_before)
    return (
        select(CandidateRow)
        .join(ranked, and_(CandidateRow.job_id == job_id, CandidateRow.number == ranked.c.number))
        .where(is_better)
        .order_by(_amount(cost))
    )


def best_row(job_id: str, cost: FrontCost) -> Select[CandidateRow]:
    """Select the last of the Pareto set alone, in one pass: the most accurate, of equal ones the
    cheapest.
    """
    return (
        select(CandidateRow)
        .where(
            CandidateRow.job_id == job_id,
            CandidateRow.state == CandidateState.COMPLETE,
            _amount(cost).is_not(None),
        )
        .order_by(CandidateRow.accuracy.desc(), _amount(cost), CandidateRow.number)
        .limit(1)
    )


def _amount(cost: FrontCost) -> ColumnElement[Any]:
    match cost:
        case "flops":
            return CandidateRow.flops + CandidateRow.adds
        case "params":
            return CandidateRow.params.expression
        case "latency":
            return CandidateRow.latency_ms.expression


def _best_before(cost: FrontCost) -> ColumnElement[float | None]:
    order = (_amount(cost), CandidateRow.accuracy.desc(), CandidateRow.number)
    return func.max(CandidateRow.accuracy).over(order_by=order, rows=(None, -1))
