"""The view of a job, put together from its row and its candidates. Changes nothing."""

from datetime import UTC, datetime

from pareconv.models.cost_table import quantity_of
from pareconv.search import costs
from pareconv.search.accuracy_drop import AccuracyDrop
from pareconv.service.stores import Stores
from pareconv.service.views.job import AnswerView, Best, Counts, ExtensionView, JobView, Links
from pareconv.service.views.teacher import TeacherView
from pareconv.storage.candidates import Candidate, FrontCost
from pareconv.storage.jobs import Job, JobStatus


def job_view(job: Job, stores: Stores) -> JobView:
    """The view of a job as it was read, with its candidates as they are now."""
    counts = stores.candidates.counts(job.id)
    most_accurate = stores.candidates.best(job.id, cost=cost_of(job))
    finalists = stores.candidates.finalists(job.id)
    return JobView(
        id=job.id,
        name=job.name,
        owner=job.token_id or None,
        status=job.status,
        stage=job.stage,
        progress=job.progress,
        stage_eta_s=_seconds_until(job.stage_eta, job),
        eta_s=_seconds_until(job.eta, job),
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        error=job.error,
        priority=job.priority,
        counts=Counts(**{state.value: number for state, number in counts.items()}),
        teacher=TeacherView.from_profile(job.profile),
        best=_best(answer_of(job, finalists) or _most_accurate(job, most_accurate, finalists)),
        answer=answer_view(job, finalists),
        library=job.library_id,
        extension=ExtensionView.of(job),
        spec=job.resolved or job.spec,
        links=Links.of(job.id),
    )


def cost_of(job: Job) -> FrontCost:
    """The cost that the job's front is drawn over."""
    objectives = job.spec["search"]["objectives"]
    cost: FrontCost = objectives[1]
    return cost


def _seconds_until(moment: datetime | None, job: Job) -> float | None:
    """None where it has passed: what was expected did not come true, and nothing is known."""
    if job.status is not JobStatus.RUNNING or moment is None:
        return None
    left = (moment - datetime.now(UTC)).total_seconds()
    return left if left >= 0 else None


def answer_of(job: Job, finalists: list[Candidate]) -> Candidate | None:
    """The least costly within the accuracy drop; None where the job allows none, or none is."""
    drop = _drop_of(job)
    return None if drop is None else drop.answer(finalists)


def answer_view(job: Job, finalists: list[Candidate]) -> AnswerView | None:
    drop = _drop_of(job)
    if drop is None:
        return None
    found = drop.answer(finalists)
    return AnswerView(
        trial=None if found is None else found.number,
        least_accuracy=drop.least,
        message=drop.told(finalists),
    )


def _drop_of(job: Job) -> AccuracyDrop | None:
    if job.profile is None:
        return None
    accuracy, quantity = job.profile["teacher"]["accuracy"], quantity_of(cost_of(job))
    return AccuracyDrop.of(points_of(job), accuracy, quantity)


def points_of(job: Job) -> float | None:
    """The accuracy drop that its spec allows, which older ones do not know."""
    points: float | None = (job.spec.get("budget") or {}).get("accuracy_drop")
    return points


def _most_accurate(
    job: Job, tried: Candidate | None, finalists: list[Candidate]
) -> Candidate | None:
    """Of the most accurate one `tried` and those finished; of equal ones the least costly."""
    quantity = quantity_of(cost_of(job))
    students = finalists if tried is None else [tried, *finalists]
    return min(
        students,
        key=lambda each: (-_reached(each), costs.cost_of(each).quantity(quantity)),
        default=None,
    )


def _best(best: Candidate | None) -> Best | None:
    if best is None:
        return None
    return Best(
        trial=best.number,
        accuracy=_reached(best),
        finished=best.finish_accuracy is not None,
        flops=best.flops,
        adds=best.adds,
        params=best.params,
    )


def _reached(candidate: Candidate) -> float:
    """Its accuracy on validation after its longest training."""
    finished, brief = candidate.finish_accuracy, candidate.accuracy
    reached = brief if finished is None else finished
    assert reached is not None  # it is complete
    return reached
