"""The view of a job's front, put together from its candidates. Changes nothing."""

import hashlib
import json

from pareconv.service.job_view import answer_of, answer_view, points_of
from pareconv.service.stores import Stores
from pareconv.service.views.front import (
    FLOPS_CONVENTION,
    ArtifactView,
    BudgetView,
    LatencyView,
    ParetoView,
    Point,
)
from pareconv.service.views.plan import in_order
from pareconv.service.views.teacher import TeacherView
from pareconv.storage.artifacts import Artifact
from pareconv.storage.candidates import Candidate, CandidateState, FrontCost
from pareconv.storage.jobs import Job


def front_view(job: Job, stores: Stores, *, cost: FrontCost) -> ParetoView:
    """The front over that cost, with the files of its finalists."""
    return ParetoView(
        job=job.id,
        status=job.status,
        objectives=["accuracy", cost],
        trials_completed=stores.candidates.counts(job.id)[CandidateState.COMPLETE],
        flops_convention=FLOPS_CONVENTION,
        budget=_budget(job),
        teacher=TeacherView.from_profile(job.profile),
        answer=answer_view(job, stores.candidates.finalists(job.id)),
        points=_points(job, stores, stores.candidates.front(job.id, cost=cost)),
    )


def students_view(job: Job, stores: Stores) -> list[Point]:
    """Every finished candidate with its files, by number, on the front or not."""
    return _points(job, stores, stores.candidates.finalists(job.id))


def front_tag(job: Job, stores: Stores, *, cost: FrontCost) -> str:
    """An ETag that changes with anything that `front_view` shows."""
    profile = job.profile or {}
    parts = [
        job.id,
        job.status,
        cost,
        profile.get("teacher"),
        profile.get("budget"),
        stores.candidates.version(job.id),
    ]
    return f'"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}"'


def _budget(job: Job) -> BudgetView:
    limits = {} if job.profile is None else job.profile["budget"]
    return BudgetView(**limits, accuracy_drop=points_of(job))


def _points(job: Job, stores: Stores, candidates: list[Candidate]) -> list[Point]:
    teacher = TeacherView.from_profile(job.profile)
    artifacts = stores.artifacts.of_job(job.id)
    answer = answer_of(job, stores.candidates.finalists(job.id))
    return [
        _point(
            each,
            job,
            teacher,
            [a for a in artifacts if a.number == each.number],
            is_answer=answer is not None and answer.number == each.number,
        )
        for each in candidates
    ]


def _point(
    candidate: Candidate,
    job: Job,
    teacher: TeacherView | None,
    artifacts: list[Artifact],
    *,
    is_answer: bool,
) -> Point:
    assert candidate.accuracy is not None
    cost = candidate.flops + candidate.adds
    return Point(
        trial=candidate.number,
        accuracy=candidate.accuracy,
        accuracy_stderr=candidate.accuracy_stderr,
        evaluations=candidate.evaluations,
        predicted=candidate.predicted,
        flops=candidate.flops,
        flops_ratio=teacher and teacher.flops_ratio(cost),
        adds=candidate.adds,
        params=candidate.params,
        params_ratio=teacher and teacher.params_ratio(candidate.params),
        latency_ms=candidate.latency_ms,
        latency_ratio=teacher and teacher.latency_ratio(candidate.latency_ms),
        plan=in_order(candidate.plan, job.profile),
        finalist=candidate.finalist,
        finish_accuracy=candidate.finish_accuracy,
        test_accuracy=candidate.test_accuracy,
        latencies=[LatencyView(**each) for each in candidate.latencies],
        answer=is_answer,
        artifacts=[ArtifactView.of(each) for each in artifacts],
    )
