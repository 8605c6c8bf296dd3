"""The chart of a job in numbers: measured trials, the front, teacher, budget and prediction."""

from collections.abc import Sequence
from typing import Any

from pareconv.models.cost_table import quantity_of
from pareconv.service.job_view import answer_view, points_of
from pareconv.service.stores import Stores
from pareconv.service.web.figures import COSTS
from pareconv.service.web.thinning import front_of, thinned
from pareconv.service.web.translation import Translation
from pareconv.storage.candidates import Candidate, FrontCost
from pareconv.storage.dots import Dot, dots
from pareconv.storage.errors import NotFound
from pareconv.storage.jobs import Job

Json = dict[str, Any]


def front_chart(job: Job, stores: Stores, cost: FrontCost) -> Json:
    """Plain lists, one entry for each point. Of dominated trials that lie close together in a job
    of thousands only one is in it.
    """
    every = dots(stores.database, job.id, cost)
    front = front_of(every)
    shown = thinned(every, {dot.number for dot in front})
    finalists = stores.candidates.finalists(job.id)
    teacher = _teacher(job, cost)
    drop = answer_view(job, finalists) if points_of(job) is not None else None
    return {
        "job": job.id,
        "name": job.name or job.id,
        "cost": cost,
        "cost_name": COSTS[cost],
        "teacher": teacher,
        "budget": _budget(job, cost),
        "floor": drop and drop.least_accuracy,
        "trials": _columns([dot for dot in shown if dot.is_complete]),
        "stopped": _columns([dot for dot in shown if not dot.is_complete]),
        "front": _columns(front),
        "finalists": [_finished(each, cost) for each in finalists],
        "predicted": _predicted(job, stores, cost, every, teacher),
        "hidden": len(every) - len(shown),
    }


def _columns(points: Sequence[Dot]) -> Json:
    return {
        "number": [dot.number for dot in points],
        "cost": [dot.cost for dot in points],
        "accuracy": [dot.accuracy for dot in points],
        # An error is drawn where it was found out by trying again; one trial's own is not.
        "stderr": [dot.stderr if dot.evaluations > 1 else None for dot in points],
    }


def _teacher(job: Job, cost: FrontCost) -> Json | None:
    if job.profile is None or job.profile["teacher"]["accuracy"] is None:
        return None
    teacher = job.profile["teacher"]
    return {"cost": _amount(teacher, cost), "accuracy": teacher["accuracy"]}


def _budget(job: Job, cost: FrontCost) -> float | None:
    limits = {} if job.profile is None else job.profile["budget"]
    limit: float | None = limits.get(quantity_of(cost))
    return limit


def _amount(costs: Json, cost: FrontCost) -> float | None:
    if cost == "flops":
        return float(costs["flops"] + costs.get("adds", 0))
    value: float | None = costs.get(quantity_of(cost))
    return value


def _finished(candidate: Candidate, cost: FrontCost) -> Json:
    costs = {name: getattr(candidate, name) for name in ("flops", "adds", "params", "latency_ms")}
    return {
        "number": candidate.number,
        "cost": _amount(costs, cost),
        "accuracy": candidate.finish_accuracy,
    }


def _predicted(
    job: Job, stores: Stores, cost: FrontCost, every: list[Dot], teacher: Json | None
) -> Json | None:
    if job.library_id is None or cost == "latency" or teacher is None:
        return None
    try:
        front = stores.libraries.get(job.library_id).front
    except NotFound:
        return None
    translation = Translation.of(every, teacher["accuracy"])
    if not front or translation is None:
        return None
    points = [(_amount(each, cost), translation.accuracy(each["score"])) for each in front]
    known = sorted((amount, accuracy) for amount, accuracy in points if accuracy is not None)
    return {"cost": [each[0] for each in known], "accuracy": [each[1] for each in known]}
